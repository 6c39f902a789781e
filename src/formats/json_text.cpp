#include "formats/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"

namespace cachalot {

std::string json_complaint(const std::exception& error) {
  std::string_view text = error.what();
  if (const size_t end = text.find("] "); text.starts_with('[') && end != text.npos) text.remove_prefix(end + 2);
  const std::string quoted = quote(text, 300);
  return quoted.substr(1, quoted.rfind('\'') - 1);
}

namespace {

// Numbers that Python's json module reads and writes and the parser does not know. They are found before parsing and
// overwritten with others of the same length, so that whatever else is wrong with the text is still found, where it
// is.
class OddNumbers {
 public:
  struct Number {
    size_t value;      // how many plain values (keys are none) come before it
    std::string text;  // as it was
  };

  explicit OddNumbers(std::string_view text) : text_(text) {
    for (size_t at = 0; at < text_.size();) {
      if (text_[at] == '"')
        at = pass_text(at);
      else if (in_word(text_[at]))
        at = pass_word(at);
      else
        ++at;
    }
  }

  std::string_view text() const { return plain_.empty() ? text_ : plain_; }
  const std::vector<Number>& numbers() const { return numbers_; }

 private:
  static bool in_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
           c == '.';
  }

  size_t pass_text(size_t at) {
    for (++at; at < text_.size() && text_[at] != '"'; ++at) at += text_[at] == '\\';
    const size_t after = text_.find_first_not_of(" \t\r\n", std::min(at + 1, text_.size()));
    values_ += after == text_.npos || text_[after] != ':';
    return at + 1;
  }

  size_t pass_word(size_t at) {
    size_t end = at;
    while (end < text_.size() && in_word(text_[end])) ++end;
    const std::string_view word = text_.substr(at, end - at);
    if (is_too_large(word)) {
      note(word);
      const size_t exponent = plain_.find_first_of("eE", at) + 1;
      for (size_t i = exponent; i < end; ++i)
        if (plain_[i] >= '0' && plain_[i] <= '9') plain_[i] = '0';
    } else if (word == "NaN" || word == "Infinity" || word == "-Infinity" || is_long_integer(word)) {
      note(word);
      plain_.replace(at, word.size(), word.size(), ' ');
      plain_[at] = '0';
    }
    ++values_;
    return end;
  }

  void note(std::string_view word) {
    if (plain_.empty()) plain_ = text_;
    numbers_.push_back({values_, std::string(word)});
  }

  // An integer beyond 64 bits, of as many digits as Python converts.
  static bool is_long_integer(std::string_view word) {
    const bool minus = word.starts_with('-');
    const std::string_view digits = word.substr(minus);
    if (digits.empty() || digits[0] == '0' || digits.size() > 4300) return false;
    if (digits.find_first_not_of("0123456789") != digits.npos) return false;
    int64_t negative;
    uint64_t positive;
    return (minus ? std::from_chars(word.begin(), word.end(), negative).ec
                  : std::from_chars(word.begin(), word.end(), positive).ec) == std::errc::result_out_of_range;
  }

  // 1e999, which is infinite in Python.
  static bool is_too_large(std::string_view word) {
    if (word.find_first_of("eE") == word.npos || word.find_first_not_of("0123456789.eE+-") != word.npos) return false;
    return std::isinf(std::strtod(std::string(word).c_str(), nullptr));
  }

  std::string_view text_;
  std::string plain_;  // empty while there is none
  size_t values_ = 0;
  std::vector<Number> numbers_;
};

// A config's integers are used as numbers, so a double does for those that are too large to be used.
void set_number(const std::string& text, nlohmann::json& value) {
  value = text == "NaN" ? std::numeric_limits<double>::quiet_NaN() : std::strtod(text.c_str(), nullptr);
}

// A template prints its integers, to the last digit.
void set_number(const std::string& text, nlohmann::ordered_json& value) {
  if (text.find_first_not_of("-0123456789") == text.npos)
    value = nlohmann::ordered_json::binary({text.begin(), text.end()});
  else
    value = text == "NaN" ? std::numeric_limits<double>::quiet_NaN() : std::strtod(text.c_str(), nullptr);
}

}  // namespace

template <typename Json>
static Json parse_bounded(std::string_view raw, std::string_view where, JsonLimits limits) {
  using Event = typename Json::parse_event_t;
  const OddNumbers odd(raw);
  const std::string_view text = odd.text();
  size_t values = 0, plain_values = 0, odd_values = 0;
  const auto bound = [&](int depth, Event event, Json& parsed) {
    if (event != Event::object_start && event != Event::array_start && event != Event::value) return true;
    if (depth >= limits.depth && event != Event::value)
      throw Error(fmt::format("the JSON is nested more than {} deep", limits.depth)).in(where);
    if (++values > limits.values)
      throw Error(fmt::format("the JSON holds more than {} values", limits.values)).in(where);
    if (event != Event::value) return true;
    if (odd_values < odd.numbers().size() && odd.numbers()[odd_values].value == plain_values)
      set_number(odd.numbers()[odd_values++].text, parsed);
    ++plain_values;
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), bound);
  } catch (const nlohmann::json::exception& error) {
    throw Error("the text is not valid JSON").in(where).because(json_complaint(error));
  }
}

void refuse_nul(std::string_view text, std::string_view where) {
  if (const size_t at = text.find('\0'); at != text.npos)
    throw Error("the text is not valid JSON").in(where).because(fmt::format("byte {} is NUL", at));
}

nlohmann::json parse_json(std::string_view text, std::string_view where, JsonLimits limits) {
  refuse_nul(text, where);
  return parse_bounded<nlohmann::json>(text, where, limits);
}
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where, JsonLimits limits) {
  return parse_bounded<nlohmann::ordered_json>(text, where, limits);
}

}  // namespace cachalot
