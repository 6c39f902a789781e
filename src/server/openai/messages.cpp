#include "server/openai/messages.h"

#include <fmt/format.h>

#include <map>

#include "base/quote.h"

namespace cachalot::openai {
namespace {

constexpr size_t kMostCalls = 1024;  // of a message

std::string text_of_parts(const Value& content) {
  std::string text;
  const auto parts = content.list(65536);
  for (const Value& part : parts) {
    const Value type = part.member("type");
    if (type.text() != "text")
      type.refuse(fmt::format("is {}; the model reads text alone, in parts of the type 'text'", quote(type.text())));
    if (&part != &parts.front()) text += '\n';
    text += part.member("text").text();
  }
  return text;
}

std::string text_of(const Value& content) {
  if (!content.json.is_string() && !content.json.is_array()) content.expect("a text or a list of parts");
  return content.json.is_string() ? content.text() : text_of_parts(content);
}

// Arguments are a text, which ought to be a JSON object; some clients send the object.
ChatCall call_of(const Value& call) {
  if (find(call.object(), "type") && call.member("type").text() != "function")
    call.member("type").expect("\"function\"");
  const Value function = call.member("function");
  ChatCall read{.id = {}, .name = function.member("name").text(), .arguments = ""};
  if (read.name.empty()) function.member("name").refuse("is empty");
  if (find(call.json, "id")) read.id = call.member("id").text();
  if (find(function.json, "arguments")) {
    const Value arguments = function.member("arguments");
    if (!arguments.json.is_object()) arguments.text();
    read.arguments = arguments.json;
  }
  return read;
}

ChatRole role_of(const Value& role) {
  static const std::map<std::string_view, ChatRole> kRoles = {
      {"system", ChatRole::system},       {"developer", ChatRole::system}, {"user", ChatRole::user},
      {"assistant", ChatRole::assistant}, {"tool", ChatRole::tool},        {"function", ChatRole::tool}};
  const auto found = kRoles.find(role.text());
  if (found == kRoles.end()) role.expect("one of system, developer, user, assistant, tool and function");
  return found->second;
}

bool is_reasoning(std::string_view name) {
  return name == "reasoning_content" || name == "reasoning" || name == "thinking";
}

void read_member(const std::string& name, const Value& value, ChatMessage& message) {
  if (name == "content") {
    message.text = text_of(value);
  } else if (name == "tool_calls") {
    for (const Value& call : value.list(kMostCalls)) message.calls.push_back(call_of(call));
    if (!message.calls.empty() && message.role != ChatRole::assistant) value.refuse("only an assistant calls tools");
  } else if (name == "tool_call_id") {
    message.call_id = value.text();
  } else if (is_reasoning(name)) {
    if (value.json.is_string() && message.role == ChatRole::assistant)
      message.reasoning = value.text();
    else
      message.more[name] = value.json;
  } else if (name == "function_call") {
    value.refuse("its place is tool_calls");
  } else if (name == "audio") {
    value.refuse("the model reads text alone");
  } else if (name == "prefix") {
    if (value.flag()) value.refuse("its place is continue_final_message");
  } else if (name != "role" && name != "refusal" && name != "annotations" && name != "cache_control") {
    message.more[name] = value.json;  // those left out say nothing more
  }
}

ChatMessage message_of(const Value& message) {
  message.object();
  ChatMessage read{.role = role_of(message.member("role")), .text = {}, .reasoning = {}, .calls = {}, .call_id = {}};
  for (const auto& [name, json] : message.json.items())
    if (!json.is_null()) read_member(name, Value{message.path + "." + name, json}, read);
  // An assistant may have said nothing; then that is written, as null.
  const bool assistant = read.role == ChatRole::assistant, written = message.json.contains("content");
  const bool says = find(message.json, "content") || !read.calls.empty() || read.reasoning;
  if (!says && !(assistant && written))
    throw bad_field(message.path + ".content", written ? "is null" : "is missing");
  return read;
}

void check_continuation(const AskedChat& asked, const ChatMessage& last) {
  if (!asked.continue_final_message) return;
  if (asked.add_generation_prompt.value_or(false))
    throw bad_field("continue_final_message", "and add_generation_prompt exclude each other");
  if (last.role != ChatRole::assistant || last.text.empty())
    throw bad_field("continue_final_message", "needs a last message of the assistant's that says something");
}

}  // namespace

void read_conversation(AskedChat& asked) {
  if (!asked.messages) throw bad_field("messages", "is missing");
  const Value messages{"messages", *asked.messages};
  if (!messages.json.is_array()) messages.expect("a list of messages");
  if (messages.json.empty()) messages.refuse("is empty; a conversation has at least one message");
  for (size_t i = 0; i < messages.json.size(); ++i) asked.chat.messages.push_back(message_of(messages.at(i)));
  check_continuation(asked, asked.chat.messages.back());
  asked.chat.opens_answer = asked.add_generation_prompt.value_or(!asked.continue_final_message);
  asked.chat.continues_last = asked.continue_final_message;
  if (asked.tools && asked.tells_of_tools) asked.chat.tools = *asked.tools;
}

}  // namespace cachalot::openai
