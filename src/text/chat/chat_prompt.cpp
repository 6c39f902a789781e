#include "text/chat/chat_prompt.h"

#include <nlohmann/json.hpp>

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

ChatPrompt encoded(const Tokenizer& tokenizer, AttributedText rendered) {
  std::vector<int32_t> tokens = tokenizer.encode(rendered);
  return {.tokens = std::move(tokens), .rendered = std::move(rendered)};
}

Json repaired(Json variables) {
  repair_all(variables);
  return variables;
}

}  // namespace

ChatPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template, const Json& variables) {
  return encoded(tokenizer, chat_template.write(repaired(variables)));
}

}  // namespace cachalot
