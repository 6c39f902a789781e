#include "text/chat/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "jinja/text.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

// What is null counts as absent, as in transformers: many templates ask only whether a key is there.
Json without_nulls(const Json& message, bool null_content) {
  Json kept = Json::object();
  for (const auto& [name, value] : message.items())
    if (!value.is_null() || (null_content && name == "content")) kept[name] = value;
  return kept;
}

// Gives a message's reasoning the names that templates know it under, as transformers does.
Json with_reasoning_names(const Json& message) {
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning", "thinking", "reasoning_content"}) {
    const auto found = message.find(name);
    if (found != message.end()) reasoning = &*found;
  }
  if (!reasoning) return message;
  Json named = {{"thinking", *reasoning}};
  for (const auto& [name, value] : message.items()) named[name] = value;
  named["reasoning_content"] = *reasoning;
  return named;
}

Json checked_messages(const Json& variables, std::span<const ContentNote> contents) {
  const auto found = variables.find("messages");
  if (found == variables.end() || !found->is_array()) {
    throw Error("a conversation needs 'messages', a list")
        .hint(R"(for example {"messages": [{"role": "user", "content": "Hi"}]})");
  }
  CHECK(contents.empty() || contents.size() == found->size());
  Json messages = Json::array();
  for (const Json& message : *found) {
    if (!message.is_object()) {
      throw Error(fmt::format("messages[{}] is not an object with 'role' and 'content'", messages.size()));
    }
    const bool null_content = !contents.empty() && contents[messages.size()].null;
    messages.push_back(with_reasoning_names(without_nulls(message, null_content)));
  }
  return messages;
}

// Tools and documents: null, or a list of objects.
void check_objects(const Json& list, const char* name) {
  if (list.is_null()) return;
  if (!list.is_array()) throw Error(fmt::format("'{}' of a conversation is not a list", name));
  for (size_t i = 0; i < list.size(); ++i)
    if (!list[i].is_object()) throw Error(fmt::format("{}[{}] is not an object", name, i));
}

constexpr std::array<std::string_view, 4> kAssistantTags = {"<think>", "</think>", "<tool_call>", "</tool_call>"};

}  // namespace

Provenance said_by_assistant(std::string_view text) {
  Provenance said;
  size_t begin = 0;
  for (size_t at = 0; (at = text.find('<', at)) != text.npos;) {
    const auto tag = std::find_if(kAssistantTags.begin(), kAssistantTags.end(),
                                  [&](std::string_view t) { return text.substr(at).starts_with(t); });
    if (tag == kAssistantTags.end()) {
      ++at;
      continue;
    }
    said.add(begin, at - begin);
    begin = at += tag->size();
  }
  said.add(begin, text.size() - begin);
  return said;
}

namespace {

// What speakers are called. Templates make tokens of these ("<|" + role + "|>"); of any other role a conversation
// could make one that says more than who speaks ("<|im_end|>").
constexpr std::array<std::string_view, 11> kRoles = {"system",      "user",      "assistant",  "tool",
                                                     "function",    "developer", "ipython",    "context",
                                                     "observation", "model",     "environment"};

// Notes what was said in the strings below `json`: `said(text)` of each text, and all of each key.
template <typename Said>
void attribute(const Json& json, const Said& said, Attribution& attribution) {
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    attribution[&text] = said(text);
  } else if (json.is_array()) {
    for (const Json& item : json) attribute(item, said, attribution);
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.get_ref<const Json::object_t&>()) {
      attribution[&key] = Provenance::all_said(key.size());
      attribute(value, said, attribution);
    }
  }
}

Provenance all_said(std::string_view text) { return Provenance::all_said(text.size()); }

}  // namespace

void attribute_all(const Json& json, Attribution& attribution) { attribute(json, all_said, attribution); }

namespace {

// The tags are a model's in the texts that it wrote, not in calls of tools, whose arguments repeat what others said.
void attribute_message(const Json& message, const ContentNote& note, Attribution& attribution) {
  attribute_all(message, attribution);
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) return;
  const auto& name = role->get_ref<const std::string&>();
  if (std::find(kRoles.begin(), kRoles.end(), name) != kRoles.end()) attribution.erase(&name);
  const auto content = message.find("content");
  if (note.said && content != message.end()) attribution[&content->get_ref<const std::string&>()] = *note.said;
  if (name != "assistant") return;
  for (const char* key : {"content", "reasoning_content", "thinking", "reasoning"}) {
    const auto text = message.find(key);
    if (text != message.end() && !(note.said && text == content)) attribute(*text, said_by_assistant, attribution);
  }
}

}  // namespace

ChatTemplate::ChatTemplate(const std::vector<ChatTemplateSource>& sources, NamedTokens tokens)
    : tokens_(std::move(tokens)) {
  CHECK(!sources.empty());
  for (const ChatTemplateSource& source : sources) {
    Choice choice{.name = source.name, .text = source.text, .parsed = {}, .error = {}};
    try {
      choice.parsed.emplace(source.text);
    } catch (const Error& error) { choice.error = error; }
    choices_.push_back(std::move(choice));
  }
}

ChatTemplate::ChatTemplate(Error error) {
  choices_.push_back({.name = "default", .text = {}, .parsed = {}, .error = std::move(error)});
}

ChatTemplate::ChatTemplate(std::string source, std::string bos_token, std::string eos_token)
    : ChatTemplate({{"default", std::move(source)}},
                   {{"bos_token", std::move(bos_token)}, {"eos_token", std::move(eos_token)}}) {
  check();
}

const ChatTemplate::Choice* ChatTemplate::find(std::string_view name) const {
  const auto found = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& c) { return c.name == name; });
  return found == choices_.end() ? nullptr : &*found;
}

// As transformers chooses: "tool_use" when there are tools, even an empty list of them; else "default".
const jinja::Template& ChatTemplate::chosen(bool with_tools) const {
  const Choice* choice = with_tools ? find("tool_use") : nullptr;
  if (!choice) choice = find("default");
  if (!choice) {
    std::string names;
    for (const Choice& c : choices_) names += (names.empty() ? "" : ", ") + c.name;
    throw Error("none of the checkpoint's chat templates is the default").because("they are named " + names);
  }
  if (choice->error) throw *choice->error;
  return *choice->parsed;
}

bool ChatTemplate::mentions(std::string_view word) const {
  return std::any_of(choices_.begin(), choices_.end(),
                     [&](const Choice& c) { return c.text.find(word) != std::string::npos; });
}

bool ChatTemplate::provides(std::string_view name) const {
  return jinja::is_global(name) ||
         std::any_of(tokens_.begin(), tokens_.end(), [&](const auto& token) { return token.first == name; }) ||
         name == "bos_token" || name == "eos_token";
}

AttributedText ChatTemplate::write(const Json& variables, std::span<const ContentNote> contents,
                                   const jinja::Limits& limits) const {
  if (!variables.is_object()) throw Error("the variables of a chat template must be a JSON object");
  Json all = Json::object();
  for (const auto& [name, text] : tokens_)
    if (!text.empty()) all[name] = text;
  all["tools"] = nullptr;  // defined in every case: templates ask `tools is not none`
  all["documents"] = nullptr;
  all["add_generation_prompt"] = true;
  Json messages = checked_messages(variables, contents);
  for (const auto& [name, value] : variables.items()) {
    if (name != "messages") all[name] = value;
  }
  all["messages"] = std::move(messages);
  check_objects(all["tools"], "tools");
  check_objects(all["documents"], "documents");
  Attribution attribution;
  for (size_t i = 0; i < all["messages"].size(); ++i)
    attribute_message(all["messages"][i], contents.empty() ? ContentNote() : contents[i], attribution);
  for (const auto& [name, value] : variables.items()) {
    if (name != "messages") attribute_all(all[name], attribution);
  }
  return chosen(!all["tools"].is_null()).render(all, attribution, limits);
}

// A mark behind the content shows where it ends. A template that trims what is said leaves out the mark's space.
AttributedText ChatTemplate::write_continued(const Json& variables, std::span<const ContentNote> contents) const {
  constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ", kTrimmed = "CONTINUE_FINAL_MESSAGE_TAG";
  Json marked = variables;
  auto& content = marked.at("messages").back().at("content").get_ref<std::string&>();
  const std::string said(jinja::strip(content, jinja::Side::both));
  std::vector<ContentNote> notes(contents.begin(), contents.end());
  if (!notes.empty() && notes.back().said) notes.back().said->add(content.size(), kMark.size());
  content += kMark;
  const AttributedText rendered = write(marked, notes);
  const std::string_view text = rendered.text;
  const size_t at = text.rfind(kTrimmed);
  if (at == text.npos || text.find(said) == text.npos)
    throw Error("the chat template leaves out some of the last message, so it cannot be continued");
  const std::string_view kept = text.substr(0, at);
  return rendered.part(text.substr(at).starts_with(kMark) ? kept : jinja::strip(kept, jinja::Side::right));
}

}  // namespace cachalot
