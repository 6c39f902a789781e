#include "server/openai/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/quote.h"
#include "session/chat_request.h"

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

void check_continuation(const Asked& asked, const ChatMessage& last) {
  if (!asked.continue_final_message) return;
  if (asked.add_generation_prompt.value_or(false))
    throw bad_field("continue_final_message", "and add_generation_prompt exclude each other");
  if (last.role != ChatRole::assistant || last.text.empty())
    throw bad_field("continue_final_message", "needs a last message of the assistant's that says something");
}

ChatRequest request_of(const Asked& asked) {
  if (!asked.messages) throw bad_field("messages", "is missing");
  const Value messages{"messages", *asked.messages};
  if (!messages.json.is_array()) messages.expect("a list of messages");
  if (messages.json.empty()) messages.refuse("is empty; a conversation has at least one message");
  ChatRequest request{.messages = {},
                      .variables = asked.template_variables,
                      .thinking = asked.thinking,
                      .opens_answer = asked.add_generation_prompt.value_or(!asked.continue_final_message),
                      .continues_last = asked.continue_final_message};
  for (size_t i = 0; i < messages.json.size(); ++i) request.messages.push_back(message_of(messages.at(i)));
  check_continuation(asked, request.messages.back());
  if (asked.tools && asked.tells_of_tools) request.tools = *asked.tools;
  return request;
}

// -- Tools

void check_tool(const Value& tool) {
  const Value type = tool.member("type");
  if (type.text() != "function") type.expect("\"function\"");
  const Value function = tool.member("function");
  const Value name = function.member("name");
  if (const std::string fault = fault_of_tool_name(name.text()); !fault.empty()) name.refuse(fault);
  if (find(function.json, "description")) function.member("description").text();
  if (find(function.json, "strict")) function.member("strict").flag();
  if (!find(function.json, "parameters")) return;
  const Value parameters = function.member("parameters");
  parameters.object();
  if (find(parameters.json, "type") && parameters.json["type"] != "object")
    parameters.member("type").expect("\"object\"");
  if (find(parameters.json, "properties")) parameters.member("properties").object();
}

}  // namespace

void check_tools(const Value& tools) {
  std::map<std::string, size_t> places;
  const auto list = tools.list(128);
  for (size_t i = 0; i < list.size(); ++i) {
    check_tool(list[i]);
    const Value name = list[i].member("function").member("name");
    const auto [place, is_new] = places.emplace(name.text(), i);
    if (!is_new) name.refuse(fmt::format("{} is the name of tools[{}], too", quote(name.text()), place->second));
  }
}

Prompt conversation_prompt(const Asked& asked, bool to_answer) {
  if (!asked.model.text.chat_template)
    throw bad_field("messages", "the model has no chat template (a base model); /v1/completions completes text");
  const ChatRequest request = request_of(asked);
  WrittenChat written = [&] {
    try {
      return asked.model.prompts.write(request);
    } catch (const Error& error) { throw bad_field("messages", error.what()); }  // the client's to mend
  }();
  if (to_answer) check_size(asked, written.text.text.size());
  return asked.model.prompts.encode(request, std::move(written));
}

}  // namespace cachalot::openai
