#include "text/chat/calls/typed_value.h"

#include <algorithm>
#include <optional>

#include "text/chat/calls/cursor.h"
#include "text/chat/calls/json_scanner.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;
using Types = std::vector<std::string>;

std::string_view without_spaces_around(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

bool is_any_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return std::equal(text.begin(), text.end(), word.begin(), word.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
  });
}

std::string type_of(const Json& value) {
  return value.is_boolean() ? "boolean" : value.is_number_integer() ? "integer" : value.type_name();
}

// The types that a schema allows, in the order in which it names them.
void add_types(const Tools& tools, std::string_view tool, const Json& said, int depth, Types& types) {
  constexpr int kDeepest = 8;
  const Json* schema = depth < kDeepest ? tools.resolved(tool, said) : nullptr;
  if (!schema || !schema->is_object()) return;
  const auto member = [&](const char* key) {
    const auto found = schema->find(key);
    return found == schema->end() ? nullptr : &*found;
  };
  if (const Json* type = member("type")) {
    for (const Json& one : type->is_array() ? *type : Json::array({*type}))
      if (one.is_string()) types.push_back(one);
  } else if (const Json* values = member("enum"); values && values->is_array()) {
    for (const Json& value : *values) types.push_back(type_of(value));
  } else if (const Json* value = member("const")) {
    types.push_back(type_of(*value));
  }
  for (const char* key : {"anyOf", "oneOf", "allOf"})
    if (const Json* choices = member(key); choices && choices->is_array())
      for (const Json& choice : *choices) add_types(tools, tool, choice, depth + 1, types);
  if (const Json* nullable = member("nullable"); nullable && *nullable == true) types.emplace_back("null");
}

std::optional<std::string> integer(std::string_view text) {
  if (!is_json_number(text)) return std::nullopt;
  const size_t point = text.find('.');  // 3.0 is one, too
  const bool whole = text.find_first_of("eE") == text.npos &&
                     (point == text.npos || text.find_first_not_of('0', point + 1) == text.npos);
  return whole ? std::optional<std::string>(text) : std::nullopt;
}

std::optional<std::string> scalar(std::string_view type, std::string_view text) {
  if (type == "integer") return integer(text);
  if (type == "number" || type == "float") return is_json_number(text) ? json_text(text) : std::nullopt;
  if (type == "boolean") {
    if (is_any_of(text, {"true"})) return "true";
    if (is_any_of(text, {"false"})) return "false";
  }
  return std::nullopt;
}

// A list or object as Python writes it, which models also learnt to: its quotes and words become JSON's.
std::string without_python(std::string_view text) {
  std::string json;
  for (size_t at = 0; at < text.size();) {
    const char quote = text[at];
    if (quote == '"' || quote == '\'') {
      json += '"';
      for (++at; at < text.size() && text[at] != quote; ++at) {
        if (text[at] == '\\' && at + 1 < text.size()) {
          if (text[++at] != '\'') json += '\\';
        } else if (text[at] == '"') {
          json += '\\';
        }
        json += text[at];
      }
      json += '"';
      ++at;
      continue;
    }
    const auto word = [&](std::string_view python, std::string_view instead) {
      if (!text.substr(at).starts_with(python)) return false;
      json += instead;
      at += python.size();
      return true;
    };
    if (!word("True", "true") && !word("False", "false") && !word("None", "null")) json += text[at++];
  }
  return json;
}

// A list or object as JSON, as Python writes it, or within a JSON string.
std::optional<std::string> list_or_object(std::string_view text) {
  std::string inner;
  if (text.starts_with('"')) {
    const auto json = json_text(text);
    if (!json) return std::nullopt;
    inner = Json::parse(*json).get<std::string>();
    text = without_spaces_around(inner);
  }
  if (!text.starts_with('[') && !text.starts_with('{')) return std::nullopt;
  auto json = json_text(text);
  return json ? json : json_text(without_python(text));
}

}  // namespace

std::string json_string(std::string_view text) {
  return Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string typed_value(const Tools& tools, std::string_view tool, std::string_view argument,
                        std::string_view value) {
  Types types;
  if (const Json* schema = tools.argument(tool, argument)) add_types(tools, tool, *schema, 0, types);
  const auto allows = [&](std::string_view type) {
    return std::find(types.begin(), types.end(), type) != types.end();
  };
  const std::string_view text = without_spaces_around(value);
  const bool plain =
      types.empty() || std::all_of(types.begin(), types.end(), [](auto& type) { return type == "string"; });
  // Templates write what Python calls None; models write it for other types, too.
  if (!plain && (allows("null") || !allows("string")) && is_any_of(text, {"null", "none"})) return "null";
  if (allows("array") || allows("object"))
    if (auto json = list_or_object(text); json && allows(json->starts_with('[') ? "array" : "object"))
      return std::move(*json);
  for (const std::string& type : types)
    if (auto json = scalar(type, text)) return std::move(*json);
  return json_string(value);
}

}  // namespace cachalot
