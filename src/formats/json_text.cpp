#include "formats/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <vector>

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

// An ordered object compares a key with all that it has, so many members would take hours.
template <typename Json>
constexpr size_t kMostMembers = std::is_same_v<Json, nlohmann::ordered_json> ? 2048 : SIZE_MAX;

// Puts together what the parser finds. The library's own way to watch a parser looks through a list or an object
// whenever a part of it ends, which takes minutes for a list of a million.
template <typename Json>
class Builder final : public nlohmann::json_sax<Json> {
  using Sax = nlohmann::json_sax<Json>;

 public:
  Builder(const OddNumbers& odd, std::string_view where, JsonLimits limits)
      : odd_(odd.numbers()), where_(where), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return plain(nullptr); }
  bool boolean(bool value) override { return plain(value); }
  bool number_integer(typename Sax::number_integer_t value) override { return plain(value); }
  bool number_unsigned(typename Sax::number_unsigned_t value) override { return plain(value); }
  bool number_float(typename Sax::number_float_t value, const std::string&) override { return plain(value); }
  bool string(std::string& value) override { return plain(std::move(value)); }
  bool binary(typename Sax::binary_t&) override { return false; }  // JSON has none

  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    Json& object = *open_.back();
    member_ = &object[name];
    if (object.size() > kMostMembers<Json>)
      throw Error(fmt::format("an object of the JSON has more than {} members", kMostMembers<Json>)).in(where_);
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::json::exception& error) override {
    throw Error("the text is not valid JSON").in(where_).because(json_complaint(error));
  }

 private:
  bool plain(Json value) {
    Json& put = add(std::move(value));
    if (odd_values_ < odd_.size() && odd_[odd_values_].value == plain_values_)
      set_number(odd_[odd_values_++].text, put);
    ++plain_values_;
    return true;
  }

  bool open(Json empty) {
    if (std::ssize(open_) >= limits_.depth)
      throw Error(fmt::format("the JSON is nested more than {} deep", limits_.depth)).in(where_);
    open_.push_back(&add(std::move(empty)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  Json& add(Json value) {
    if (++values_ > limits_.values)
      throw Error(fmt::format("the JSON holds more than {} values", limits_.values)).in(where_);
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_object()) return *member_ = std::move(value);
    parent.push_back(std::move(value));
    return parent.back();
  }

  const std::vector<OddNumbers::Number>& odd_;
  const std::string_view where_;
  const JsonLimits limits_;
  Json root_;
  std::vector<Json*> open_;  // objects and lists, each within the one before it
  Json* member_ = nullptr;   // of the innermost object: whose key came last
  size_t values_ = 0, plain_values_ = 0, odd_values_ = 0;
};

}  // namespace

template <typename Json>
static Json parse_bounded(std::string_view raw, std::string_view where, JsonLimits limits) {
  const OddNumbers odd(raw);
  const std::string_view text = odd.text();
  Builder<Json> builder(odd, where, limits);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
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
