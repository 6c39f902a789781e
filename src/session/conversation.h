// A conversation with a model: what was said, and answers to what is said next.
#pragma once

#include <string>
#include <vector>

#include "session/answer.h"
#include "session/chat_request.h"

namespace cachalot {

// Keeps what earlier turns computed in its engine's cache, so a turn computes what is new. Borrows the model.
class Conversation {
 public:
  // `wishes`: what every turn asks for; its messages are the conversation's.
  Conversation(const LoadedModel& model, AnswerOptions options, ChatRequest wishes = {});

  // Forgets everything; "" for no system message.
  void start(const std::string& system);
  const std::string& system() const { return system_; }

  // Answers the user's `text`. The conversation becomes longer by both, unless nothing was said before `cancelled`.
  // Throws Error when there is no answer; the conversation is then as it was.
  Answer say(const std::string& text, const AnswerSink& sink, const std::function<bool()>& cancelled);
  // Asks the last question again, with another seed, and forgets what was answered. There must be one.
  Answer retry(const AnswerSink& sink, const std::function<bool()>& cancelled);
  bool can_retry() const { return !asked_.messages.empty(); }

 private:
  const LoadedModel& model_;
  PromptWriter prompts_;
  Engine engine_;
  AnswerOptions options_;
  std::string system_;
  std::vector<ChatMessage> messages_;  // what was said
  ChatRequest asked_;  // what the model was asked last, with messages that end in the user's; without any before that
};

}  // namespace cachalot
