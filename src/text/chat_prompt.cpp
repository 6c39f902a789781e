#include "text/chat_prompt.h"

#include <array>
#include <functional>

#include "base/error.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 4> kAssistantTags = {"<think>", "</think>", "<tool_call>", "</tool_call>"};

// Calls change(string, in_assistant) on every string below `json`, the keys of objects included.
void for_each_string(Json& json, bool assistant, const std::function<void(std::string&, bool)>& change) {
  if (json.is_string()) {
    change(json.get_ref<std::string&>(), assistant);
  } else if (json.is_array()) {
    for (Json& value : json) for_each_string(value, assistant, change);
  } else if (json.is_object()) {
    const auto role = json.find("role");
    if (role != json.end() && *role == "assistant") assistant = true;
    Json changed = Json::object();
    for (auto& [old_key, value] : json.items()) {
      std::string key = old_key;
      change(key, false);
      for_each_string(value, assistant, change);
      changed[key] = std::move(value);
    }
    json = std::move(changed);
  }
}

// A character that Unicode reserves for a program's own use and that `variables` do not hold, in UTF-8.
std::string unused_mark(Json& variables) {
  std::array<bool, 32> used = {};  // U+FDD0 … U+FDEF are EF B7 90 … EF B7 AF
  for_each_string(variables, false, [&](std::string& text, bool) {
    for (size_t at = 0; (at = text.find("\xef\xb7", at)) != std::string::npos && at + 2 < text.size(); at += 3) {
      const auto last = static_cast<unsigned char>(text[at + 2]);
      if (last >= 0x90 && last <= 0xaf) used[last - 0x90] = true;
    }
  });
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i]) return {'\xef', '\xb7', static_cast<char>(0x90 + i)};
  throw Error("the conversation holds all of Unicode's noncharacters U+FDD0 to U+FDEF").hint("leave one of them out");
}

// Takes the marks out of the tags that the text of an assistant may hold.
void unmark_tags(std::string& text, std::string_view mark) {
  for (const std::string_view tag : kAssistantTags) {
    const std::string marked = std::string(tag.substr(0, 1)).append(mark).append(tag.substr(1));
    for (size_t at = 0; (at = text.find(marked, at)) != std::string::npos; at += tag.size())
      text.replace(at, marked.size(), tag);
  }
}

std::string without(std::string_view text, std::string_view mark) {
  std::string out;
  for (size_t at; (at = text.find(mark)) != text.npos; text.remove_prefix(at + mark.size()))
    out += text.substr(0, at);
  return out.append(text);
}

}  // namespace

ChatPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template, Json variables) {
  for_each_string(variables, false, [](std::string& text, bool) {
    if (!is_valid_utf8(text)) text = repaired_utf8(text);
  });
  const std::string mark = unused_mark(variables);
  for_each_string(variables, false, [&](std::string& text, bool assistant) {
    text = tokenizer.marked_plain(text, mark);
    if (assistant) unmark_tags(text, mark);
  });
  const std::string rendered = chat_template.render(variables);
  return {.tokens = tokenizer.encode_marked(rendered, mark), .text = without(rendered, mark)};
}

}  // namespace cachalot
