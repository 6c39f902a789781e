// Text with Python's rules: UTF-8 outside, code points in every index, and the case, space and quoting rules of
// `str`. All functions expect valid UTF-8 (Template and render() check it at the border) and throw nothing but
// bad_alloc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/provenance.h"

namespace cachalot::jinja {

bool is_utf8(std::string_view text);
int64_t count_letters(std::string_view text);  // code points
// Reads the code point at `at` and moves `at` behind it.
int32_t next_letter(std::string_view text, size_t& at);
void append_letter(std::string& text, int32_t letter);
// Byte offset of code point number `index` (0 ≤ index ≤ length).
size_t offset_of_letter(std::string_view text, int64_t index, bool ascii);

bool is_space(int32_t letter);      // str.isspace
bool is_word(int32_t letter);       // \w of Python's re
bool is_alpha(int32_t letter);      // str.isalpha
bool is_decimal(int32_t letter);    // str.isdecimal
bool is_numeric(int32_t letter);    // str.isnumeric, up to ideographs that mean numbers
bool is_printable(int32_t letter);  // str.isprintable
bool is_cased(int32_t letter);
bool is_upper(int32_t letter);
bool is_lower(int32_t letter);

// Rewrites a text letter by letter: change(to.text, begin, end, letter) appends what becomes of the letter at
// [begin, end).
template <typename Change>
void rewrite(const AttributedText& from, AttributedText& to, Change change) {
  const std::string_view text = from.text;
  const bool one_voice = from.provenance.nothing_said() || from.provenance.all_said_of(text.size());
  Rewriting rewriting(from, to);
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t letter = next_letter(text, at);
    change(to.text, begin, at, letter);
    if (!one_voice) rewriting.step(at);
  }
  if (one_voice) rewriting.step(text.size());
}

AttributedText upper(const AttributedText& text);
AttributedText lower(const AttributedText& text);
AttributedText capitalize(const AttributedText& text);
AttributedText title(const AttributedText& text);
AttributedText title_words(const AttributedText& text);  // as the filter: a word begins behind space or one of -({[<
AttributedText swapcase(const AttributedText& text);
inline std::string upper(std::string_view text) { return upper(written(std::string(text))).text; }
inline std::string lower(std::string_view text) { return lower(written(std::string(text))).text; }

// As text.find(part, from), in linear time whatever the two hold.
size_t find(std::string_view text, std::string_view part, size_t from = 0);

enum class Side { left, right, both };
// Removes white space, or the letters of `chars` when given.
std::string_view strip(std::string_view text, Side side);
std::string_view strip(std::string_view text, Side side, std::string_view chars);

// str.split / str.rsplit; `most` < 0 means no limit. An empty separator is the caller's error.
std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t most);
std::vector<std::string_view> rsplit(std::string_view text, std::string_view separator, int64_t most);
std::vector<std::string_view> split_spaces(std::string_view text, int64_t most);
std::vector<std::string_view> rsplit_spaces(std::string_view text, int64_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

AttributedText repr(const AttributedText& text);  // quoted as Python's repr does
inline std::string repr(std::string_view text) { return repr(written(std::string(text))).text; }
std::string repr(double number);                         // shortest text that reads back the same
AttributedText escape_html(const AttributedText& text);  // markupsafe.escape
bool parse_integer(std::string_view text, int base, int64_t& number, bool& overflow);  // int(text, base)
bool parse_real(std::string_view text, double& number);                                // float(text)

}  // namespace cachalot::jinja
