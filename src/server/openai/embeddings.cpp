// POST /v1/embeddings. Every input is a request of its own to the engine.
#include <fmt/format.h>

#include <bit>
#include <iterator>

#include "base/check.h"
#include "server/dialect/base64.h"
#include "server/dialect/follow.h"
#include "server/json_body.h"
#include "server/openai/fields.h"
#include "server/openai/openai.h"
#include "server/openai/prompts.h"
#include "session/embedding.h"

namespace cachalot::openai {
namespace {

ApiError too_long(const AskedEmbeddings& asked, const std::string& what) {
  return {400,
          fmt::format("This model's maximum context length is {} tokens. However, an input has {}.",
                      asked.model.context, what),
          "context_length_exceeded", std::string(asked.prompt_field)};
}

std::vector<int> text_tokens(const AskedEmbeddings& asked, const std::string& text) {
  const size_t least = asked.model.prompts.fewest_tokens(text.size());
  if (least > static_cast<size_t>(asked.model.context))
    throw too_long(asked, fmt::format("{} bytes, which are at least {} tokens", text.size(), least));
  const Tokenizer& tokenizer = asked.model.text.tokenizer;
  return asked.add_special_tokens ? tokenizer.encode_with_bos(text) : tokenizer.encode(text);
}

std::vector<Prompt> read_inputs(const AskedEmbeddings& asked) {
  if (!asked.input) throw bad_field("input", "is missing");
  const Value value{"input", *asked.input};
  std::vector<Prompt> all;
  const auto add = [&](std::vector<int> tokens) {
    if (tokens.empty()) value.refuse("is empty, or has an empty text; there is nothing to embed");
    if (std::ssize(tokens) > asked.model.context) throw too_long(asked, fmt::format("{} tokens", tokens.size()));
    all.push_back({.tokens = std::move(tokens), .ends = {}, .answers = {}});
  };
  for_each_prompt(value, asked.model.vocab, [&](const std::string& text) { add(text_tokens(asked, text)); }, add);
  return all;
}

Run run_of_input(const AskedEmbeddings& asked, const Prompt& prompt, const Caller& caller) {
  Request request{.prompt = prompt.tokens, .embedding = asked.pooling, .caller = caller.name, .salt = caller.salt};
  if (!asked.cache_salt.empty()) request.salt += "\n" + asked.cache_salt;
  if (!asked.use_cache) request.computed_from = 0;
  return {std::move(request), Reply(asked.model.text.tokenizer, prompt, {})};
}

class EmbeddingTeller : public Teller {
 public:
  explicit EmbeddingTeller(const AskedEmbeddings& asked) : asked_(asked) {}

  void tell(const RunNews&, const Runs&, EventStream&) override { CHECK(false, "vectors come at once"); }
  void end(const Runs&, EventStream&) override { CHECK(false, "vectors come at once"); }
  void fail(const ApiError&, EventStream&) override { CHECK(false, "vectors come at once"); }

  // Text by text: as JSON values, numbers would take many times the memory.
  std::string whole(std::vector<RunNews> all, const Runs& runs) override {
    std::string text = R"({"object":"list","data":[)";
    for (const RunNews& one : all) {
      if (one.run > 0) text += ',';
      fmt::format_to(std::back_inserter(text), R"({{"object":"embedding","index":{},"embedding":)", one.run);
      add_vector(told_embedding(runs.reply(one.run).embedding(), asked_.dimensions, asked_.normalized), text);
      text += '}';
    }
    const int tokens = runs.usage().prompt_tokens;
    return text + R"(],"model":)" + dump(Json(asked_.model.id)) +
           fmt::format(R"(,"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})", tokens, tokens);
  }

 private:
  void add_vector(const std::vector<float>& numbers, std::string& text) const {
    if (asked_.base64) {
      static_assert(std::endian::native == std::endian::little);  // as memory has them
      text += '"' + base64(std::as_bytes(std::span(numbers))) + '"';
      return;
    }
    text += '[';
    for (size_t i = 0; i < numbers.size(); ++i)
      fmt::format_to(std::back_inserter(text), "{}{}", i > 0 ? "," : "", numbers[i]);
    text += ']';
  }

  const AskedEmbeddings& asked_;
};

}  // namespace

void embeddings(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  const AskedEmbeddings asked = read_embeddings(body, model);
  std::vector<Run> runs;
  for (const Prompt& prompt : read_inputs(asked)) runs.push_back(run_of_input(asked, prompt, caller));
  EmbeddingTeller teller(asked);
  follow(exchange, /*stream=*/false, std::move(runs), generator, teller, notes);
}

}  // namespace cachalot::openai
