#include "session/conversation.h"

#include <utility>

#include "base/check.h"

namespace cachalot {

Conversation::Conversation(const LoadedModel& model, AnswerOptions options, ChatRequest wishes)
    : model_(model),
      prompts_(*model.text, model.defaults.end_tokens),
      engine_(*model.ops, *model.transformer, model.engine_options()),
      options_(std::move(options)),
      asked_(std::move(wishes)) {
  start("");
}

void Conversation::start(const std::string& system) {
  system_ = system;
  messages_.clear();
  asked_.messages.clear();
  if (!system.empty()) messages_.push_back({.role = ChatRole::system, .text = system});
}

Answer Conversation::say(const std::string& text, const AnswerSink& sink, const std::function<bool()>& cancelled) {
  asked_.messages = messages_;
  asked_.messages.push_back({.role = ChatRole::user, .text = text});
  return retry(sink, cancelled);
}

Answer Conversation::retry(const AnswerSink& sink, const std::function<bool()>& cancelled) {
  CHECK(can_retry());
  const Prompt prompt = prompts_.ask(asked_);
  Answer answer = cachalot::answer(engine_, model_, prompt, options_, sink, cancelled);
  ++options_.sampling.seed;  // or asking again would give the same
  if (answer.text.empty() && answer.finish == FinishReason::cancelled) return answer;  // nothing was said
  ChatMessage message{.role = ChatRole::assistant, .text = answer.text};
  if (!answer.reasoning.empty()) message.reasoning = answer.reasoning;
  messages_ = asked_.messages;
  messages_.push_back(std::move(message));
  return answer;
}

}  // namespace cachalot
