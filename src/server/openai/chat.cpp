// POST /v1/chat/completions.
#include <nlohmann/json.hpp>
#include <optional>

#include "server/dialect/logprobs.h"
#include "server/json_body.h"
#include "server/openai/choices.h"
#include "server/openai/messages.h"
#include "server/openai/openai.h"

namespace cachalot::openai {
namespace {

class ChatTeller : public ChoiceTeller {
 public:
  ChatTeller(const AskedChat& asked, const Prompt& prompt)
      : ChoiceTeller(asked), asked_(asked), prompt_(prompt), told_(static_cast<size_t>(asked.answers)) {}

 protected:
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
    std::string content, reasoning;
    Json calls = Json::array();
    for (const ReplyPart& part : news.parts) {
      if (part.kind == ReplyPart::Kind::call)
        calls.push_back(call(part, news.answer));
      else
        (part.kind == ReplyPart::Kind::content ? content : reasoning) += text(part, news.answer);
    }
    const bool silent = content.empty() && !calls.empty();
    Json message = {
        {"role", "assistant"}, {"content", silent ? Json(nullptr) : Json(std::move(content))}, {"refusal", nullptr}};
    add_reasoning(reasoning, message);
    if (!calls.empty()) message["tool_calls"] = std::move(calls);
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

  // What one message has of each kind is one text. Where a call stood within it, the white space is gone, so a line
  // break stands for it.
  std::string text(const ReplyPart& part, int answer) {
    Told& told = told_[static_cast<size_t>(answer)];
    std::optional<int>& calls_before =
        part.kind == ReplyPart::Kind::content ? told.content_calls : told.reasoning_calls;
    const bool resumes = calls_before && *calls_before < told.calls;
    calls_before = told.calls;
    return resumes ? "\n" + part.text : part.text;
  }

  // An answer's next call, whose name and whole arguments are known.
  Json call(const ReplyPart& part, int answer) {
    ++told_[static_cast<size_t>(answer)].calls;
    return {{"id", "call_" + random_id()},
            {"type", "function"},
            {"function", {{"name", part.name}, {"arguments", part.text}}}};
  }

  Json delta_of(const ReplyPart& part, int answer) {
    Json delta = Json::object();
    if (part.kind == ReplyPart::Kind::reasoning) {
      add_reasoning(text(part, answer), delta);
    } else if (part.kind == ReplyPart::Kind::content) {
      delta["content"] = text(part, answer);
    } else {
      Json piece = {{"index", told_[static_cast<size_t>(answer)].calls}};
      piece.update(call(part, answer));
      delta["tool_calls"] = Json::array({std::move(piece)});
    }
    return delta;
  }

  std::string_view finish(const ReplyNews& news) const {
    const std::string_view reason = finish_reason(*news.end);
    return reason == "stop" && told_[static_cast<size_t>(news.answer)].calls > 0 ? "tool_calls" : reason;
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

  const AskedChat& asked_;
  const Prompt& prompt_;
  struct Told {
    int calls = 0;
    std::optional<int> content_calls, reasoning_calls;  // that were told before the last of such text
  };
  std::vector<Told> told_;  // of each answer, so far
};

}  // namespace

void chat_completions(http::Exchange& exchange, const ServedModel& model, Generator& generator, const Caller& caller,
                      RequestNotes& notes) {
  notes.model = model.id;
  const Json body = json_body(exchange.request());
  AskedChat asked = read_chat(body, model);
  read_conversation(asked);
  const Prompt prompt = chat_prompt(asked);
  std::vector<Run> runs;
  runs.push_back(run_of(asked, prompt, caller));
  ChatTeller teller(asked, prompt);
  follow(exchange, asked.stream, std::move(runs), generator, teller, notes);
}

}  // namespace cachalot::openai
