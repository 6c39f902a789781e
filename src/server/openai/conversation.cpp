#include "server/openai/conversation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/quote.h"
#include "formats/json_text.h"
#include "server/openai/value.h"

namespace cachalot::openai {
namespace {

constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool", "function"};

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

// Arguments come as a text that ought to be a JSON object.
void parse_arguments(Json& call) {
  const auto function = call.find("function");
  const auto arguments = function == call.end() ? call.end() : function->find("arguments");
  if (function == call.end() || arguments == function->end() || !arguments->is_string()) return;
  try {
    Json parsed = parse_ordered_json(arguments->get_ref<const std::string&>(), "arguments");
    if (parsed.is_object()) *arguments = std::move(parsed);
  } catch (const Error&) {}  // the model wrote something else; the template gets that
}

// Notes the names.
void check_calls(const Value& calls, std::vector<std::string>& names) {
  for (const Value& call : calls.list(1024)) {
    names.push_back(call.member("function").member("name").text());
    if (const Json* arguments = find(call.json["function"], "arguments"); arguments && !arguments->is_object())
      call.member("function").member("arguments").text();
  }
}

class Messages {
 public:
  explicit Messages(const Value& messages) {
    if (!messages.json.is_array()) messages.expect("a list of messages");
    if (messages.json.empty()) messages.refuse("is empty; a conversation has at least one message");
    for (size_t i = 0; i < messages.json.size(); ++i) read(messages.at(i));
  }

  Json messages = Json::array();
  std::vector<std::string> called;  // names of tools
  // With the arguments of calls as objects, and with "" for the content of who only calls.
  Json changed(bool objects, bool empty_content) const {
    Json changed = messages;
    for (Json& message : changed) {
      if (!message.contains("tool_calls")) continue;
      if (empty_content && !message.contains("content")) message["content"] = "";
      if (objects)
        for (Json& call : message["tool_calls"]) parse_arguments(call);
    }
    return changed;
  }

 private:
  void read(const Value& message) {
    message.object();
    const std::string& given = message.member("role").text();
    if (std::find(std::begin(kRoles), std::end(kRoles), given) == std::end(kRoles))
      message.member("role").expect("one of system, developer, user, assistant and tool");
    Json read = Json::object();
    for (const auto& [name, json] : message.json.items()) {
      if (json.is_null()) continue;
      if (name == "role")
        read[name] = given == "developer" ? "system" : given;
      else
        read_member(name, Value{message.path + "." + name, json}, read);
    }
    if (!read.contains("content") && !read.contains("tool_calls")) {
      if (given != "assistant" || !reasons(read)) throw bad_field(message.path + ".content", "is missing");
      read["content"] = "";
    }
    messages.push_back(std::move(read));
  }

  static bool reasons(const Json& message) {
    return message.contains("reasoning_content") || message.contains("reasoning") || message.contains("thinking");
  }

  void read_member(const std::string& name, const Value& value, Json& read) {
    if (name == "content") {
      if (!value.json.is_string() && !value.json.is_array()) value.expect("a text or a list of parts");
      read[name] = value.json.is_string() ? value.text() : text_of_parts(value);
    } else if (name == "tool_calls") {
      check_calls(value, called);
      if (!value.json.empty()) read[name] = value.json;
    } else if (name == "function_call") {
      value.refuse("its place is tool_calls");
    } else if (name == "audio") {
      value.refuse("the model reads text alone");
    } else if (name == "prefix") {
      if (value.flag()) value.refuse("its place is continue_final_message");
    } else if (name != "refusal" && name != "annotations" && name != "cache_control") {  // these say nothing more
      read[name] = value.json;
    }
  }
};

const ChatTemplate& template_of(const ServedModel& model) {
  if (!model.text.chat_template)
    throw bad_field("messages", "the model has no chat template (a base model); /v1/completions completes text");
  return *model.text.chat_template;
}

// What the template refuses is the client's to mend.
template <typename Work>
auto asking_template(const Work& work) {
  try {
    return work();
  } catch (const Error& error) { throw bad_field("messages", error.what()); }
}

// What the template writes differs by these variables.
bool reads(const ChatTemplate& chat_template, const Json& with, std::initializer_list<const char*> names) {
  Json without = with;
  for (const char* name : names) without.erase(name);
  return chat_template.render(with) != chat_template.render(without);
}

void check_variables(const Asked& asked, const Json& variables) {
  const ChatTemplate& chat_template = template_of(asked.model);
  if (variables.contains("tools") && !reads(chat_template, variables, {"tools"}))
    throw bad_field("tools", "the model's chat template has no place for tools");
  if (asked.reasoning_effort && *asked.reasoning_effort != "medium" &&
      !reads(chat_template, variables, {"reasoning_effort", "enable_thinking", "thinking"}))
    throw bad_field("reasoning_effort", "the model's chat template does not know it");
}

Json variables_of(const Asked& asked, Json messages) {
  Json variables = asked.template_variables;
  variables["messages"] = std::move(messages);
  variables["add_generation_prompt"] = asked.add_generation_prompt.value_or(!asked.continue_final_message);
  if (asked.tools && asked.tells_of_tools) variables["tools"] = *asked.tools;
  if (asked.reasoning_effort) {
    if (!variables.contains("reasoning_effort")) variables["reasoning_effort"] = *asked.reasoning_effort;
    if (*asked.reasoning_effort == "none")
      for (const char* name : {"enable_thinking", "thinking"})
        if (!variables.contains(name)) variables[name] = false;
  }
  return variables;
}

void check_continuation(const Asked& asked, const Json& messages) {
  if (!asked.continue_final_message) return;
  if (asked.add_generation_prompt.value_or(false))
    throw bad_field("continue_final_message", "and add_generation_prompt exclude each other");
  const Json& last = messages.back();
  if (last["role"] != "assistant" || last.value("content", "").empty())
    throw bad_field("continue_final_message", "needs a last message of the assistant's that says something");
}

// Templates write calls in their order, so each name is looked for behind the one before it.
bool tells(std::string_view text, const std::vector<std::string>& names) {
  size_t at = 0;
  for (const std::string& name : names) {
    at = text.find(name, at);
    if (at == text.npos) return false;
    at += name.size();
  }
  return true;
}

}  // namespace

Prompt conversation_prompt(const Asked& asked) {
  if (!asked.messages) throw bad_field("messages", "is missing");
  template_of(asked.model);
  const Messages read(Value{"messages", *asked.messages});
  check_continuation(asked, read.messages);
  const auto prompt_of = [&](Json messages) {
    const Json variables = variables_of(asked, std::move(messages));
    return asking_template([&] {
      check_variables(asked, variables);
      return asked.continue_final_message ? asked.model.prompts.continued_chat(variables)
                                          : asked.model.prompts.chat(variables);
    });
  };
  if (read.called.empty()) return prompt_of(read.messages);
  // Templates differ in the form of calls that they take, and some fail or say nothing of others.
  std::optional<ApiError> refusal;
  for (const bool empty_content : {false, true})
    for (const bool objects : {true, false}) try {
        Prompt prompt = prompt_of(read.changed(objects, empty_content));
        if (tells(asked.model.text.tokenizer.decode(prompt.tokens), read.called)) return prompt;
        if (!refusal) refusal = bad_field("messages", "the model's chat template leaves out calls of tools");
      } catch (const ApiError& why) {
        if (why.param != "messages") throw;
        if (!refusal) refusal = why;
      }
  throw *refusal;
}

}  // namespace cachalot::openai
