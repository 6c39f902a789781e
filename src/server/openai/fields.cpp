#include "server/openai/fields.h"

#include <fmt/format.h>

namespace cachalot::openai {
namespace {

// What only several fields together say.
void check_together(const AskedChoices& asked) {
  if (asked.usage_options && !asked.stream)
    throw bad_field("stream_options", "may be given only where stream is true");
  if (asked.max_tokens && asked.text.min_tokens > *asked.max_tokens)
    throw bad_field("min_tokens", fmt::format("is {}, which is more than the {} tokens that the answer may have",
                                              asked.text.min_tokens, *asked.max_tokens));
}

// top_logprobs says how many, logprobs whether.
void check_logprobs(AskedChat& asked) {
  if (asked.wants_logprobs) {
    asked.logprobs = asked.logprobs.value_or(0);
  } else {
    if (asked.logprobs.value_or(0) > 0) throw bad_field("top_logprobs", "may be given only where logprobs is true");
    asked.logprobs.reset();
  }
}

}  // namespace

AskedChat read_chat(const Json& body, const ServedModel& model) {
  AskedChat asked(model);
  read_fields(body, asked, sampling_fields(), conversation_fields(), choice_fields(), chat_fields());
  check_together(asked);
  check_logprobs(asked);
  if (asked.max_tokens == 0) throw bad_field("max_tokens", "must be at least 1");
  return asked;
}

AskedCompletion read_completion(const Json& body, const ServedModel& model) {
  AskedCompletion asked(model);
  read_fields(body, asked, sampling_fields(), choice_fields(), completion_fields());
  check_together(asked);
  if (asked.best_of && *asked.best_of != asked.answers)
    throw bad_field("best_of", "answers are not chosen among others; it may only be what n is");
  return asked;
}

AskedEmbeddings read_embeddings(const Json& body, const ServedModel& model) {
  AskedEmbeddings asked(model);
  read_fields(body, asked, embedding_fields());
  if (model.embedding.refusal)
    throw ApiError{400, model.embedding.refusal->what(), "embeddings_unsupported", "model"};
  return asked;
}

}  // namespace cachalot::openai
