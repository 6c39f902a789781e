// POST /v1/chat/completions.
#include <nlohmann/json.hpp>

#include "server/json_body.h"
#include "server/openai/conversation.h"
#include "server/openai/fields.h"
#include "server/openai/follow.h"
#include "server/openai/logprobs.h"
#include "server/openai/openai.h"

namespace cachalot::openai {
namespace {

class ChatTeller : public Teller {
 public:
  ChatTeller(const Asked& asked, const Prompt& prompt)
      : asked_(asked), prompt_(prompt), calls_(static_cast<size_t>(asked.answers)) {}

  std::string_view id_prefix() const override { return "chatcmpl-"; }
  std::string_view object(bool chunk) const override { return chunk ? "chat.completion.chunk" : "chat.completion"; }

  Json beginning() override {
    Json choices = Json::array();
    for (int i = 0; i < asked_.answers; ++i)
      choices.push_back(chunk(i, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr));
    return choices;
  }

  // A chunk for each part, in the order of the answer. What is told of tokens comes with the last.
  Json chunks(const RunNews& run, const Reply&) override {
    const ReplyNews& news = run.news;
    Json choices = Json::array();
    for (const ReplyPart& part : news.parts)
      if (Json delta = delta_of(part, news.answer); !delta.empty())
        choices.push_back(chunk(news.answer, std::move(delta), nullptr, nullptr));
    Json told = logprobs(news);
    const bool ids = asked_.tells_token_ids;
    if (choices.empty() && (!told.is_null() || (ids && !news.tokens.empty())))
      choices.push_back(chunk(news.answer, Json::object(), nullptr, nullptr));
    if (!choices.empty()) {
      choices.back()["logprobs"] = std::move(told);
      if (ids) choices.back()["token_ids"] = token_ids(news.tokens, std::nullopt);
    }
    if (!news.end) return choices;
    Json last = chunk(news.answer, Json::object(), nullptr, finish(news));
    last["stop_reason"] = stop_reason(*news.end, asked_);
    if (ids) last["token_ids"] = token_ids({}, news.end);
    choices.push_back(std::move(last));
    return choices;
  }

  Json choice(const RunNews& run, const Reply&) override {
    const ReplyNews& news = run.news;
    Json message = {
        {"role", "assistant"}, {"content", text_of(news.parts, ReplyPart::Kind::content)}, {"refusal", nullptr}};
    add_reasoning(text_of(news.parts, ReplyPart::Kind::reasoning), message);
    for (const ReplyPart& part : news.parts)
      if (part.kind == ReplyPart::Kind::call) message["tool_calls"].push_back(call(part, news.answer));
    if (message.contains("tool_calls") && message["content"] == "") message["content"] = nullptr;
    Json told = {{"index", news.answer},
                 {"message", std::move(message)},
                 {"logprobs", asked_.logprobs ? logprobs(news, /*also_empty=*/true) : Json(nullptr)},
                 {"finish_reason", finish(news)},
                 {"stop_reason", stop_reason(*news.end, asked_)}};
    if (asked_.tells_token_ids) told["token_ids"] = token_ids(news.tokens, news.end);
    return told;
  }

  Json prompt_token_ids() const override { return asked_.tells_token_ids ? Json(prompt_.tokens) : Json(nullptr); }

 private:
  static Json chunk(int index, Json delta, Json logprobs, Json finish) {
    return {{"index", index},
            {"delta", std::move(delta)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }

  // Under both names that clients look for.
  void add_reasoning(const std::string& reasoning, Json& message) const {
    if (reasoning.empty() || !asked_.tells_reasoning) return;
    message["reasoning_content"] = reasoning;
    message["reasoning"] = reasoning;
  }

  // An answer's next call, whose name and whole arguments are known.
  Json call(const ReplyPart& part, int answer) {
    ++calls_[static_cast<size_t>(answer)];
    return {{"id", "call_" + random_id()},
            {"type", "function"},
            {"function", {{"name", part.name}, {"arguments", part.text}}}};
  }

  Json delta_of(const ReplyPart& part, int answer) {
    Json delta = Json::object();
    if (part.kind == ReplyPart::Kind::reasoning) {
      add_reasoning(part.text, delta);
    } else if (part.kind == ReplyPart::Kind::content) {
      delta["content"] = part.text;
    } else {
      const int index = calls_[static_cast<size_t>(answer)];
      Json told = {{"index", index}};
      told.update(call(part, answer));
      delta["tool_calls"] = Json::array({std::move(told)});
    }
    return delta;
  }

  std::string_view finish(const ReplyNews& news) const {
    const std::string_view reason = finish_reason(*news.end);
    return reason == "stop" && calls_[static_cast<size_t>(news.answer)] > 0 ? "tool_calls" : reason;
  }

  Json logprobs(const ReplyNews& news, bool also_empty = false) const {
    if (!asked_.logprobs) return nullptr;
    Json content = Json::array(), reasoning = Json::array();
    for (const ReplyToken& token : news.tokens) {
      if (token.reasoning && !asked_.tells_reasoning) continue;
      (token.reasoning ? reasoning : content).push_back(chat_logprob(asked_.model.text.tokenizer, token.logprobs));
    }
    if (content.empty() && reasoning.empty() && !also_empty) return nullptr;
    Json both = {{"content", std::move(content)}, {"refusal", nullptr}};
    if (!reasoning.empty()) both["reasoning_content"] = std::move(reasoning);
    return both;
  }

  const Asked& asked_;
  const Prompt& prompt_;
  std::vector<int> calls_;  // of each answer, told so far
};

// top_logprobs says how many, logprobs whether.
void check_logprobs(Asked& asked) {
  if (asked.wants_logprobs) {
    asked.logprobs = asked.logprobs.value_or(0);
  } else {
    if (asked.logprobs.value_or(0) > 0) throw bad_field("top_logprobs", "may be given only where logprobs is true");
    asked.logprobs.reset();
  }
  if (asked.max_tokens == 0) throw bad_field("max_tokens", "must be at least 1");
}

}  // namespace

void chat_completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                      RequestNotes& notes) {
  guarded(exchange, notes, [&] {
    notes.model = model.id;
    const Json body = json_body(exchange.request());
    Asked asked = read_fields(body, model, Endpoint::chat);
    check_logprobs(asked);
    const Prompt prompt = conversation_prompt(asked);
    const ReplyOptions reply{.answers = asked.answers, .text = asked.text, .one_call = asked.one_call};
    std::vector<Run> runs;
    runs.push_back({engine_request(asked, prompt, caller), Reply(model.text.tokenizer, prompt, reply)});
    ChatTeller teller(asked, prompt);
    follow(exchange, asked, std::move(runs), generator, teller, notes);
  });
}

}  // namespace cachalot::openai
