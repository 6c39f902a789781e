#include "text/chat/calls/json_calls.h"

#include <algorithm>
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

}  // namespace

std::optional<std::string> arguments_text(std::string_view json) {
  if (json == "null") return "{}";
  if (!json.starts_with('"')) return object_text(json);
  const auto said = string_value(json);
  if (!said) return std::nullopt;
  return said->find_first_not_of(kSpaces) == said->npos ? "{}" : object_text(*said);
}

Reading JsonReader::read(std::string_view text, bool ended) {
  if (!begun_) {
    tags_ = &*std::find_if(all_tags_.begin(), all_tags_.end(),
                           [&](const JsonTags& tags) { return text.starts_with(tags.open); });
    Cursor cursor(text, tags_->open == "{" ? 0 : tags_->open.size(), ended);
    const Found found = cursor.take_spaces();
    if (found != Found::yes) return found == Found::open ? Reading::open : Reading::malformed;
    json_begin_ = cursor.at();
    begun_ = true;
  }
  Reading reading;
  do {
    goes_on_ = false;
    reading = read_value(text, ended);
  } while (reading == Reading::whole && goes_on_);
  return reading;
}

Reading JsonReader::read_value(std::string_view text, bool ended) {
  const Reading scanned = scanner_.read(text.substr(json_begin_));
  read_bytes_ = json_begin_ + scanner_.read_bytes();
  if (tags_->doubtful && !may_be_call(text.substr(json_begin_))) return Reading::malformed;
  // Small models forget the last brace: the arguments are there, and a closing tag or the end follows.
  const bool forgotten =
      scanner_.lacks_last_brace() &&
      (tags_->close.empty() ? scanned == Reading::open && ended : scanned == Reading::malformed || ended);
  if (scanned != Reading::whole && !forgotten) return ended ? Reading::malformed : scanned;
  return close(text, ended);
}

// Of what may be other text: soon, so that such text need not wait.
bool JsonReader::may_be_call(std::string_view json) const {
  constexpr size_t kMostMembers = 8;
  if (!json.starts_with('{')) return true;
  if (scanner_.members().size() > kMostMembers) return false;
  return std::all_of(scanner_.members().begin(), scanner_.members().end(), [&](const JsonScanner::Member& m) {
    if (m.key_end == 0) return true;
    const std::string_view key = json.substr(m.key_begin, m.key_end - m.key_begin);
    if (key == R"("name")" && m.value_end > 0) {
      const std::string_view value = json.substr(m.value_begin, m.value_end - m.value_begin);
      const auto name = value.starts_with('"') ? string_value(value) : std::nullopt;
      return name && tools_.has(*name);
    }
    constexpr std::string_view kKeys[] = {R"("name")", R"("arguments")", R"("parameters")", R"("id")", R"("type")"};
    return std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
  });
}

// A call whose closing tag the end cuts off is whole, and one that the next call's tag follows.
Reading JsonReader::close(std::string_view text, bool ended) {
  const size_t json_end = json_begin_ + scanner_.read_bytes();
  if (!tags_->close.empty()) {
    Cursor cursor(text, json_end, ended);
    if (const Found found = cursor.take_spaces(); found != Found::yes)
      return found == Found::open ? Reading::open : Reading::malformed;
    if (cursor.rest().starts_with('{') && !scanner_.lacks_last_brace()) {
      if (!read_calls(text.substr(json_begin_, json_end - json_begin_))) return Reading::malformed;
      json_begin_ = cursor.at();
      scanner_ = JsonScanner();
      goes_on_ = true;
      return Reading::whole;
    }
    Cursor at_next = cursor;
    const Found closed = cursor.take(tags_->close), next = at_next.take(tags_->open);
    if (closed == Found::no && next == Found::no) return Reading::malformed;
    if (closed != Found::yes && next != Found::yes && !ended) return Reading::open;
    read_bytes_ = closed == Found::yes ? cursor.at() : closed == Found::open ? text.size() : json_end;
  }
  return read_calls(text.substr(json_begin_, json_end - json_begin_)) ? Reading::whole : Reading::malformed;
}

bool JsonReader::read_calls(std::string_view json) {
  if (json.starts_with('{')) return add_call(json, scanner_);
  for (const JsonScanner::Member& m : scanner_.members()) {
    const std::string_view element = json.substr(m.value_begin, m.value_end - m.value_begin);
    JsonScanner scanner;
    if (!element.starts_with('{') || scanner.read(element) != Reading::whole || !add_call(element, scanner))
      return false;
  }
  return !calls_.empty();
}

bool JsonReader::add_call(std::string_view object, const JsonScanner& scanned) {
  std::string_view name, arguments = tags_->doubtful || scanned.lacks_last_brace() ? "" : "null";
  for (const JsonScanner::Member& m : scanned.members()) {
    const std::string_view key = object.substr(m.key_begin, m.key_end - m.key_begin),
                           value = object.substr(m.value_begin, m.value_end - m.value_begin);
    if (key == R"("name")") name = value;
    if (key == R"("arguments")" || key == R"("parameters")") arguments = value;
  }
  if (!name.starts_with('"')) return false;
  auto said = string_value(name), text = arguments_text(arguments);
  if (!said || said->empty() || !text || (tags_->doubtful && !tools_.has(*said))) return false;
  calls_.push_back({.name = std::move(*said), .arguments = std::move(*text)});
  return true;
}

}  // namespace cachalot
