// A conversation and what is wished of its answer, whichever API it came by: the dialects of the server check their
// JSON and map it to this, and chat_writer.h makes a prompt of it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/thinking.h"

namespace cachalot {

enum class ChatRole { system, user, assistant, tool };

// A call of a tool that an assistant made.
struct ChatCall {
  std::string id;
  std::string name;
  nlohmann::ordered_json arguments;  // an object, or a text: what the model wrote, which ought to be one
};

struct ChatMessage {
  ChatRole role;
  std::string text;                      // "" where there is none
  std::optional<std::string> reasoning;  // the assistant's, apart from the text
  std::vector<ChatCall> calls;           // the assistant's
  std::string call_id;                   // the call that a tool answers, where that was said
  nlohmann::ordered_json more = nlohmann::ordered_json::object();  // other members, for the template
};

struct ChatRequest {
  std::vector<ChatMessage> messages;
  nlohmann::ordered_json tools = nlohmann::ordered_json::array();       // in the shape of Tools (text/chat/tools.h)
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  // more of them, for the template
  ThinkingWishes thinking;
  bool opens_answer = true;     // the prompt ends where an answer begins
  bool continues_last = false;  // or where the text of the last message, the assistant's, does: the model goes on
};

// What is wrong with a tool's name, or nothing: in every form of calls a name ends where some characters stand, so a
// model could not write one that has them.
std::string fault_of_tool_name(std::string_view name);

}  // namespace cachalot
