// Upper, lower and title case as Python's str has them: letters may become several, a final sigma is special.
#include <utf8proc.h>

#include <algorithm>

#include "text/jinja_casing.h"
#include "text/jinja_text.h"

namespace cachalot::jinja {
namespace {

const SpecialCase* special_case(int32_t letter) {
  const auto* found = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), letter,
                                       [](const SpecialCase& row, int32_t l) { return row.letter < l; });
  return found != std::end(kSpecialCases) && found->letter == letter ? found : nullptr;
}

void append_upper(std::string& out, int32_t letter) {
  if (letter < 0x80) return out.push_back(static_cast<char>(letter >= 'a' && letter <= 'z' ? letter - 32 : letter));
  if (const SpecialCase* row = special_case(letter)) {
    out += row->upper;
  } else {
    append_letter(out, utf8proc_toupper(letter));
  }
}

void append_title(std::string& out, int32_t letter) {
  if (const SpecialCase* row = special_case(letter); row && *row->title) {
    out += row->title;
  } else {
    append_letter(out, utf8proc_totitle(letter));
  }
}

// Letters that a word's case does not depend on: apostrophes, marks, modifiers (Unicode's Case_Ignorable).
bool is_case_ignorable(int32_t letter) {
  switch (letter) {
    case '\'':
    case '.':
    case ':':
    case '^':
    case '`':
    case 0xa8:
    case 0xad:
    case 0xaf:
    case 0xb4:
    case 0xb7:
    case 0xb8:
    case 0x387:
    case 0x55f:
    case 0x5f4:
    case 0x2018:
    case 0x2019:
    case 0x2024:
    case 0x2027:
    case 0xfe13:
    case 0xfe52:
    case 0xfe55:
    case 0xff07:
    case 0xff0e:
    case 0xff1a: return true;
    default: break;
  }
  switch (utf8proc_category(letter)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return false;
  }
}

// A capital sigma at the end of a word becomes ς: a cased letter before it, none after it.
bool sigma_ends_word(std::string_view text, size_t begin, size_t end) {
  size_t at = end;
  while (at < text.size()) {
    const int32_t letter = next_letter(text, at);
    if (is_case_ignorable(letter)) continue;
    if (is_cased(letter)) return false;
    break;
  }
  at = begin;
  while (at > 0) {
    do --at;
    while (at > 0 && (text[at] & 0xc0) == 0x80);
    size_t behind = at;
    const int32_t letter = next_letter(text, behind);
    if (!is_case_ignorable(letter)) return is_cased(letter);
  }
  return false;
}

void append_lower(std::string& out, std::string_view text, size_t begin, size_t end, int32_t letter) {
  if (letter < 0x80) return out.push_back(static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter));
  if (letter == 0x3a3) return append_letter(out, sigma_ends_word(text, begin, end) ? 0x3c2 : 0x3c3);
  if (letter == 0x130) {
    out += "i\u0307";
    return;
  }
  append_letter(out, utf8proc_tolower(letter));
}

}  // namespace

std::string upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) append_upper(out, next_letter(text, at));
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t letter = next_letter(text, at);
    append_lower(out, text, begin, at, letter);
  }
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t letter = next_letter(text, at);
    if (begin == 0) {
      append_title(out, letter);
    } else {
      append_lower(out, text, begin, at, letter);
    }
  }
  return out;
}

std::string title(std::string_view text) {
  std::string out;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t letter = next_letter(text, at);
    if (inside) {
      append_lower(out, text, begin, at, letter);
    } else {
      append_title(out, letter);
    }
    inside = is_cased(letter);
  }
  return out;
}

std::string swapcase(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t letter = next_letter(text, at);
    if (is_upper(letter)) {
      append_lower(out, text, begin, at, letter);
    } else if (is_lower(letter)) {
      append_upper(out, letter);
    } else {
      append_letter(out, letter);
    }
  }
  return out;
}

}  // namespace cachalot::jinja
