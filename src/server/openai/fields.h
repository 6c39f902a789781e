// What the endpoints of OpenAI's older API ask: chat and completions, which both answer with choices, and embeddings.
#pragma once

#include <optional>
#include <string>

#include "server/dialect/fields.h"

namespace cachalot::openai {

using namespace dialect;

constexpr size_t kMostPromptLogprobs = size_t{4} << 20;  // with echo; those of all choices together

struct AskedChoices : Asked {
  using Asked::Asked;

  bool usage_at_end = false, usage_always = false;
  bool usage_options = false;  // stream_options were given
  bool tells_token_ids = false;
};

struct AskedChat : AskedChoices {
  explicit AskedChat(const ServedModel& served) : AskedChoices(served, "messages") {}

  const Json* messages = nullptr;
  const Json* tools = nullptr;
  bool tells_of_tools = true;
  bool wants_logprobs = false;
  bool tells_reasoning = true;
  std::optional<bool> add_generation_prompt;
  bool continue_final_message = false;
};

struct AskedCompletion : AskedChoices {
  explicit AskedCompletion(const ServedModel& served) : AskedChoices(served, "prompt") {}

  const Json* prompt = nullptr;
  std::optional<std::string> suffix;
  bool add_special_tokens = true;
  std::optional<int> best_of;
};

struct AskedEmbeddings : Asked {
  explicit AskedEmbeddings(const ServedModel& served)
      : Asked(served, "input"), pooling(served.embedding.pooling), normalized(served.embedding.normalized) {}

  const Json* input = nullptr;
  bool base64 = false;
  std::optional<int> dimensions;
  Pooling pooling;
  bool normalized;
  bool add_special_tokens = true;
};

std::span<const Field<AskedChoices>> choice_fields();
std::span<const Field<AskedChat>> chat_fields();
std::span<const Field<AskedCompletion>> completion_fields();
std::span<const Field<AskedEmbeddings>> embedding_fields();

// Read a body. Throw an ApiError.
AskedChat read_chat(const Json& body, const ServedModel& model);
AskedCompletion read_completion(const Json& body, const ServedModel& model);
AskedEmbeddings read_embeddings(const Json& body, const ServedModel& model);

}  // namespace cachalot::openai
