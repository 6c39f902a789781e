#include "text/chat/calls/json_calls.h"

#include <nlohmann/json.hpp>

#include "text/chat/calls/cursor.h"

namespace cachalot {
namespace {

// What a string stands for.
std::optional<std::string> string_value(std::string_view json) {
  const auto text = json_text(json);
  return text ? std::optional(nlohmann::json::parse(*text).get<std::string>()) : std::nullopt;
}

std::optional<std::string> object_text(std::string_view json) {
  auto text = json_text(json);
  return text && text->starts_with('{') ? std::move(text) : std::nullopt;
}

std::optional<ToolCall> call_of_object(std::string_view json, const JsonScanner& scanned, bool complete) {
  std::string_view name, arguments = complete ? "" : "null";
  for (const JsonScanner::Member& m : scanned.members()) {
    const std::string_view key = json.substr(m.key_begin, m.key_end - m.key_begin),
                           value = json.substr(m.value_begin, m.value_end - m.value_begin);
    if (key == R"("name")") name = value;
    if (key == R"("arguments")" || key == R"("parameters")") arguments = value;
  }
  if (!name.starts_with('"')) return std::nullopt;
  auto said = string_value(name), text = arguments_text(arguments);
  if (!said || said->empty() || !text) return std::nullopt;
  return ToolCall{.name = std::move(*said), .arguments = std::move(*text)};
}

}  // namespace

std::optional<std::string> arguments_text(std::string_view json) {
  if (json == "null") return "{}";
  if (!json.starts_with('"')) return object_text(json);
  const auto said = string_value(json);
  if (!said) return std::nullopt;
  return said->find_first_not_of(kSpaces) == said->npos ? "{}" : object_text(*said);
}

std::vector<ToolCall> calls_of_json(std::string_view json, const JsonScanner& scanned, bool complete) {
  std::vector<ToolCall> calls;
  const auto add = [&](std::string_view object, const JsonScanner& of_object) {
    auto call = call_of_object(object, of_object, complete);
    if (call) calls.push_back(std::move(*call));
    return call.has_value();
  };
  if (json.starts_with('{')) {
    add(json.substr(0, scanned.read_bytes()), scanned);
    return calls;
  }
  for (const JsonScanner::Member& m : scanned.members()) {
    const std::string_view element = json.substr(m.value_begin, m.value_end - m.value_begin);
    JsonScanner scanner;
    if (!element.starts_with('{') || scanner.read(element) != Reading::whole || !add(element, scanner)) return {};
  }
  return calls;
}

}  // namespace cachalot
