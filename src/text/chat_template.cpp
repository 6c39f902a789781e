#include "text/chat_template.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

// Gives a message's reasoning the names that templates know it under, as transformers does.
Json with_reasoning_names(const Json& message) {
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning", "thinking", "reasoning_content"}) {
    const auto found = message.find(name);
    if (found != message.end() && !found->is_null()) reasoning = &*found;
  }
  if (!reasoning) return message;
  Json named = {{"thinking", *reasoning}};
  for (const auto& [name, value] : message.items()) named[name] = value;
  named["reasoning_content"] = *reasoning;
  return named;
}

Json checked_messages(const Json& variables) {
  const auto found = variables.find("messages");
  if (found == variables.end() || !found->is_array()) {
    throw Error("a conversation needs 'messages', a list")
        .hint(R"(for example {"messages": [{"role": "user", "content": "Hi"}]})");
  }
  Json messages = Json::array();
  for (const Json& message : *found) {
    if (!message.is_object()) {
      throw Error(fmt::format("messages[{}] is not an object with 'role' and 'content'", messages.size()));
    }
    messages.push_back(with_reasoning_names(message));
  }
  return messages;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::string bos_token, std::string eos_token)
    : source_(std::move(source)),
      bos_token_(std::move(bos_token)),
      eos_token_(std::move(eos_token)),
      template_(source_) {}

std::string ChatTemplate::render(const Json& variables) const {
  if (!variables.is_object()) throw Error("the variables of a chat template must be a JSON object");
  Json all = Json::object();
  if (!bos_token_.empty()) all["bos_token"] = bos_token_;
  if (!eos_token_.empty()) all["eos_token"] = eos_token_;
  all["tools"] = nullptr;  // defined in every case: templates ask `tools is not none`
  all["documents"] = nullptr;
  all["add_generation_prompt"] = true;
  Json messages = checked_messages(variables);
  for (const auto& [name, value] : variables.items()) {
    if (name != "messages") all[name] = value;
  }
  all["messages"] = std::move(messages);
  return template_.render(all);
}

}  // namespace cachalot
