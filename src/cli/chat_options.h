// What `run` and `chat` let one say of a prompt beside its messages.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "load/loaded_model.h"
#include "session/chat_request.h"

namespace cachalot {

struct ChatOptions {
  std::string think;  // on, off; empty: as the model does by itself
  std::optional<int> max_thinking_tokens;
  std::vector<std::string> variables;  // NAME=JSON

  void add_to(Command& command);
  // The names of those that are given: an answer without a template can take none of them.
  std::string given() const;
  // A request without messages. Throws Error for a variable that is not one.
  ChatRequest request(const ChatTemplate& chat_template) const;
};

}  // namespace cachalot
