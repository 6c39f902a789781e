// Upper, lower and title case as Python's str has them: letters may become several, a final sigma is special.
#include <utf8proc.h>

#include <algorithm>

#include "jinja/casing.h"
#include "jinja/text.h"

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

// Letters behind which a word begins for |title.
bool separates_words(int32_t letter) {
  return letter == '-' || letter == '(' || letter == '{' || letter == '[' || letter == '<' || is_space(letter);
}

size_t end_of_word(std::string_view text, size_t at) {
  while (at < text.size()) {
    size_t behind = at;
    if (separates_words(next_letter(text, behind))) break;
    at = behind;
  }
  return at;
}

}  // namespace

AttributedText upper(const AttributedText& text) {
  AttributedText out;
  out.text.reserve(text.text.size());
  rewrite(text, out, [](std::string& to, size_t, size_t, int32_t letter) { append_upper(to, letter); });
  return out;
}

AttributedText lower(const AttributedText& text) {
  AttributedText out;
  out.text.reserve(text.text.size());
  rewrite(text, out, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
    append_lower(to, text.text, begin, end, letter);
  });
  return out;
}

AttributedText capitalize(const AttributedText& text) {
  AttributedText out;
  rewrite(text, out, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
    if (begin == 0) {
      append_title(to, letter);
    } else {
      append_lower(to, text.text, begin, end, letter);
    }
  });
  return out;
}

AttributedText title(const AttributedText& text) {
  AttributedText out;
  bool inside = false;
  rewrite(text, out, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
    if (inside) {
      append_lower(to, text.text, begin, end, letter);
    } else {
      append_title(to, letter);
    }
    inside = is_cased(letter);
  });
  return out;
}

AttributedText title_words(const AttributedText& text) {
  AttributedText out;
  std::string_view rest;  // of the word behind its first letter; lowered as a text of its own
  size_t rest_begin = 0;
  bool inside = false;
  rewrite(text, out, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
    if (separates_words(letter)) {
      append_letter(to, letter);
      inside = false;
    } else if (inside) {
      append_lower(to, rest, begin - rest_begin, end - rest_begin, letter);
    } else {
      append_upper(to, letter);
      rest_begin = end;
      rest = std::string_view(text.text).substr(end, end_of_word(text.text, end) - end);
      inside = true;
    }
  });
  return out;
}

AttributedText swapcase(const AttributedText& text) {
  AttributedText out;
  rewrite(text, out, [&](std::string& to, size_t begin, size_t end, int32_t letter) {
    if (is_upper(letter)) {
      append_lower(to, text.text, begin, end, letter);
    } else if (is_lower(letter)) {
      append_upper(to, letter);
    } else {
      append_letter(to, letter);
    }
  });
  return out;
}

}  // namespace cachalot::jinja
