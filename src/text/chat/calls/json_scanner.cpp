#include "text/chat/calls/json_scanner.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "text/chat/calls/cursor.h"

namespace cachalot {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_scalar(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' || c == 'E';
}
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Raw control characters in strings become what stands for them.
std::string with_escaped_controls(std::string_view json) {
  std::string escaped;
  escaped.reserve(json.size());
  bool in_string = false, after_backslash = false;
  for (const char c : json) {
    if (in_string && static_cast<unsigned char>(c) < 0x20) {
      escaped += c == '\n'   ? "\\n"
                 : c == '\t' ? "\\t"
                 : c == '\r' ? "\\r"
                             : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      continue;
    }
    escaped += c;
    if (c == '"' && !after_backslash) in_string = !in_string;
    after_backslash = in_string && c == '\\' && !after_backslash;
  }
  return escaped;
}

}  // namespace

bool is_json_number(std::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at > begin;
  };
  const auto take = [&](std::string_view any) {
    const bool there = at < text.size() && any.find(text[at]) != any.npos;
    at += there;
    return there;
  };
  take("-");
  if (!take("0") && !digits()) return false;
  if (take(".") && !digits()) return false;
  if (take("eE")) {
    take("+-");
    if (!digits()) return false;
  }
  return at == text.size();
}

Reading JsonScanner::read(std::string_view text) {
  while (!malformed_ && next_ != Next::end && at_ < text.size()) {
    if (in_scalar_ && !is_scalar(text[at_]) && !end_scalar(text)) {
      malformed_ = true;
    } else {
      malformed_ = !step(text);
      at_ += !malformed_;
    }
  }
  return malformed_ ? Reading::malformed : next_ == Next::end ? Reading::whole : Reading::open;
}

bool JsonScanner::step(std::string_view text) {
  const char c = text[at_];
  if (in_string_) return step_string(c);
  if (in_scalar_) return true;
  if (is_space(c)) return !open_.empty();
  switch (next_) {
    case Next::value: return begin_value(c);
    case Next::value_or_close: return c == ']' ? close(c) : begin_value(c);
    case Next::key_or_close:
      if (c == '}') return close(c);
      [[fallthrough]];
    case Next::key:
      if (c != '"') return false;
      in_string_ = is_key_ = true;
      if (open_.size() == 1) members_.push_back({.key_begin = at_});
      return true;
    case Next::colon: next_ = Next::value; return c == ':';
    case Next::comma_or_close:
      if (c != ',') return close(c);
      next_ = open_.back() == '{' ? Next::key : Next::value;
      return true;
    case Next::end: return false;
  }
  return false;
}

bool JsonScanner::step_string(char c) {
  if (hex_digits_ > 0) {
    --hex_digits_;
    return is_hex(c);
  }
  if (escaped_) {
    escaped_ = false;
    if (c == 'u') hex_digits_ = 4;
    return std::string_view("\"\\/bfnrtu").find(c) != std::string_view::npos;
  }
  escaped_ = c == '\\';
  if (c != '"') return true;
  in_string_ = false;
  if (is_key_) {
    is_key_ = false;
    if (open_.size() == 1) members_.back().key_end = at_ + 1;
    next_ = Next::colon;
  } else {
    ++at_;
    end_value();
    --at_;
  }
  return true;
}

bool JsonScanner::begin_value(char c) {
  if (open_.size() == 1) {
    if (open_.back() == '[') members_.push_back({});
    members_.back().value_begin = at_;
  }
  if (c == '{' || c == '[') return open(c);
  if (open_.empty()) return false;
  if (c == '"') return in_string_ = true;
  scalar_begin_ = at_;
  return in_scalar_ = is_scalar(c);
}

bool JsonScanner::open(char c) {
  if (open_.size() == kMostJsonDepth) return false;
  open_ += c;
  next_ = c == '{' ? Next::key_or_close : Next::value_or_close;
  return true;
}

bool JsonScanner::close(char c) {
  if (c != (open_.back() == '{' ? '}' : ']')) return false;
  open_.pop_back();
  ++at_;
  end_value();
  --at_;
  return true;
}

// at_ is behind it.
void JsonScanner::end_value() {
  if (open_.size() == 1) members_.back().value_end = at_;
  next_ = open_.empty() ? Next::end : Next::comma_or_close;
}

bool JsonScanner::end_scalar(std::string_view text) {
  in_scalar_ = false;
  end_value();
  const std::string_view scalar = text.substr(scalar_begin_, at_ - scalar_begin_);
  return scalar == "true" || scalar == "false" || scalar == "null" || is_json_number(scalar);
}

std::optional<std::string> json_text(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == text.npos) return std::nullopt;
  text = text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
  if (text[0] == '{' || text[0] == '[') {  // its depth is bounded before others read it
    JsonScanner scanner;
    if (scanner.read(text) != Reading::whole || scanner.read_bytes() != text.size()) return std::nullopt;
  }
  std::string json = with_escaped_controls(text);
  if (json.find('\0') != json.npos) return std::nullopt;  // the parser would take it for the end
  return nlohmann::json::accept(json) ? std::optional(std::move(json)) : std::nullopt;
}

}  // namespace cachalot
