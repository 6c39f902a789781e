#include "text/chat/chat_prompt.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/unicode.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

void repair(std::string& text) {
  if (!is_valid_utf8(text)) text = repaired_utf8(text);
}

// Repairs every string below `json`, the keys of objects included.
void repair_all(Json& json) {
  if (json.is_string()) {
    repair(json.get_ref<std::string&>());
  } else if (json.is_array()) {
    for (Json& value : json) repair_all(value);
  } else if (json.is_object()) {
    Json repaired = Json::object();
    for (auto& [old_key, value] : json.items()) {
      std::string key = old_key;
      repair(key);
      repair_all(value);
      repaired[key] = std::move(value);
    }
    json = std::move(repaired);
  }
}

}  // namespace

ChatPrompt encode_continued_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                 const Json& variables) {
  Json marked = variables;
  repair_all(marked);
  // A mark behind the text shows where it ends; a template that trims texts leaves out the mark's space.
  constexpr std::string_view kMark = "CONTINUE_FINAL_MESSAGE_TAG ", kTrimmed = "CONTINUE_FINAL_MESSAGE_TAG";
  auto& content = marked.at("messages").back().at("content").get_ref<std::string&>();
  content += kMark;
  const AttributedText rendered = chat_template.write(marked);
  const std::string_view text = rendered.text;
  const size_t at = text.rfind(kTrimmed);
  if (at == text.npos) throw Error("the chat template leaves out the last message, so it cannot be continued");
  std::string_view kept = text.substr(0, at);
  if (!text.substr(at).starts_with(kMark)) kept = kept.substr(0, kept.find_last_not_of(" \t\r\n\v\f") + 1);
  AttributedText prompt = rendered.part(kept);
  std::vector<int32_t> tokens = tokenizer.encode(prompt);
  return {.tokens = std::move(tokens), .rendered = std::move(prompt)};
}

ChatPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template, const Json& variables) {
  Json repaired = variables;
  repair_all(repaired);
  AttributedText rendered = chat_template.write(repaired);
  std::vector<int32_t> tokens = tokenizer.encode(rendered);
  return {.tokens = std::move(tokens), .rendered = std::move(rendered)};
}

}  // namespace cachalot
