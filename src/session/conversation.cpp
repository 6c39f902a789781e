#include "session/conversation.h"

#include "base/check.h"

namespace cachalot {

Conversation::Conversation(const LoadedModel& model, AnswerOptions options)
    : model_(model),
      prompts_(*model.text, model.defaults.end_tokens),
      engine_(*model.ops, *model.transformer, model.engine_options()),
      options_(std::move(options)) {
  start("");
}

void Conversation::start(const std::string& system) {
  system_ = system;
  messages_ = asked_ = Json::array();
  if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
}

Answer Conversation::say(const std::string& text, const AnswerSink& sink, const std::function<bool()>& cancelled) {
  asked_ = messages_;
  asked_.push_back({{"role", "user"}, {"content", text}});
  return retry(sink, cancelled);
}

Answer Conversation::retry(const AnswerSink& sink, const std::function<bool()>& cancelled) {
  CHECK(can_retry());
  const Prompt prompt = prompts_.chat({{"messages", asked_}, {"add_generation_prompt", true}});
  Answer answer = cachalot::answer(engine_, model_, prompt, options_, sink, cancelled);
  ++options_.sampling.seed;  // or asking again would give the same
  if (answer.text.empty() && answer.finish == FinishReason::cancelled) return answer;  // nothing was said
  Json message = {{"role", "assistant"}, {"content", answer.text}};
  if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
  messages_ = asked_;
  messages_.push_back(std::move(message));
  return answer;
}

}  // namespace cachalot
