#include "jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace cachalot::jinja {
namespace {

utf8proc_category_t category(int32_t letter) { return utf8proc_category(letter); }

bool is_line_end(int32_t letter) {
  return (letter >= 0x0a && letter <= 0x0d) || (letter >= 0x1c && letter <= 0x1e) || letter == 0x85 ||
         letter == 0x2028 || letter == 0x2029;
}

}  // namespace

bool is_utf8(std::string_view text) {
  size_t at = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  while (at < text.size()) {
    if (bytes[at] < 0x80) {
      ++at;
      continue;
    }
    utf8proc_int32_t letter = 0;
    const utf8proc_ssize_t size =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &letter);
    if (size <= 0) return false;
    at += static_cast<size_t>(size);
  }
  return true;
}

int64_t count_letters(std::string_view text) {
  int64_t letters = 0;
  for (const char byte : text) letters += (byte & 0xc0) != 0x80;
  return letters;
}

int32_t next_letter(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<int32_t>(static_cast<unsigned char>(text[at + i])); };
  const int32_t first = byte(0);
  int32_t letter = first;
  size_t size = 1;
  if (first >= 0xf0) {
    letter = (first & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63), size = 4;
  } else if (first >= 0xe0) {
    letter = (first & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63), size = 3;
  } else if (first >= 0x80) {
    letter = (first & 31) << 6 | (byte(1) & 63), size = 2;
  }
  at += size;
  return letter;
}

void append_letter(std::string& text, int32_t letter) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size = utf8proc_encode_char(letter, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

size_t offset_of_letter(std::string_view text, int64_t index, bool ascii) {
  if (ascii) return static_cast<size_t>(index);
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((text[at] & 0xc0) == 0x80) continue;
    if (index-- == 0) break;
  }
  return at;
}

bool is_space(int32_t letter) {
  return (letter >= 9 && letter <= 13) || (letter >= 0x1c && letter <= 0x20) || letter == 0x85 || letter == 0xa0 ||
         letter == 0x1680 || (letter >= 0x2000 && letter <= 0x200a) || letter == 0x2028 || letter == 0x2029 ||
         letter == 0x202f || letter == 0x205f || letter == 0x3000;
}

bool is_alpha(int32_t letter) {
  const auto c = category(letter);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}
bool is_decimal(int32_t letter) { return category(letter) == UTF8PROC_CATEGORY_ND; }
bool is_numeric(int32_t letter) {
  const auto c = category(letter);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}
bool is_word(int32_t letter) { return letter == '_' || is_alpha(letter) || is_numeric(letter); }

bool is_printable(int32_t letter) {
  switch (category(letter)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return letter == ' ';
    default: return true;
  }
}

bool is_upper(int32_t letter) {
  const auto c = category(letter);
  return c == UTF8PROC_CATEGORY_LU ||
         (c != UTF8PROC_CATEGORY_LT && !is_alpha(letter) && utf8proc_tolower(letter) != letter);
}
bool is_lower(int32_t letter) {
  const auto c = category(letter);
  return c == UTF8PROC_CATEGORY_LL || letter == 0xaa || letter == 0xba ||
         (!is_alpha(letter) && utf8proc_toupper(letter) != letter);
}
bool is_cased(int32_t letter) {
  return is_upper(letter) || is_lower(letter) || category(letter) == UTF8PROC_CATEGORY_LT;
}

size_t find(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

namespace {

template <typename Drop>
std::string_view strip_if(std::string_view text, Side side, Drop drop) {
  size_t begin = 0, end = text.size();
  while (side != Side::right && begin < end) {
    size_t behind = begin;
    if (!drop(next_letter(text, behind))) break;
    begin = behind;
  }
  while (side != Side::left && end > begin) {
    size_t last = end - 1;
    while (last > begin && (text[last] & 0xc0) == 0x80) --last;
    size_t behind = last;
    if (!drop(next_letter(text, behind))) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

}  // namespace

std::string_view strip(std::string_view text, Side side) { return strip_if(text, side, is_space); }

std::string_view strip(std::string_view text, Side side, std::string_view chars) {
  return strip_if(text, side, [&](int32_t letter) {
    std::string bytes;
    append_letter(bytes, letter);
    return chars.find(bytes) != std::string_view::npos;
  });
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t found = find(text, separator, begin);
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(begin, found - begin));
    begin = found + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string_view> rsplit(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<std::string_view> parts;
  size_t end = text.size();
  while ((most < 0 || static_cast<int64_t>(parts.size()) < most) && end >= separator.size()) {
    const size_t found = text.rfind(separator, end - separator.size());
    if (found == std::string_view::npos) break;
    parts.push_back(text.substr(found + separator.size(), end - found - separator.size()));
    end = found;
  }
  parts.push_back(text.substr(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_spaces(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, Side::left);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
      parts.push_back(text);
      break;
    }
    size_t at = 0, end = 0;
    while (at < text.size() && !is_space(next_letter(text, at))) end = at;
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), Side::left);
  }
  return parts;
}

std::vector<std::string_view> rsplit_spaces(std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, Side::right);
  while (!text.empty()) {
    if (most >= 0 && static_cast<int64_t>(parts.size()) >= most) {
      parts.push_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t last = begin - 1;
      while (last > 0 && (text[last] & 0xc0) == 0x80) --last;
      size_t behind = last;
      if (is_space(next_letter(text, behind))) break;
      begin = last;
    }
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), Side::right);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const int32_t letter = next_letter(text, at);
    if (!is_line_end(letter)) continue;
    if (letter == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

AttributedText repr(const AttributedText& text) {
  const bool double_quoted = text.text.find('\'') != std::string::npos && text.text.find('"') == std::string::npos;
  const char quote = double_quoted ? '"' : '\'';
  AttributedText out = written(std::string(1, quote));
  rewrite(text, out, [quote](std::string& to, size_t, size_t, int32_t letter) {
    if (letter == quote || letter == '\\') {
      to += '\\', to += static_cast<char>(letter);
    } else if (letter == '\n') {
      to += "\\n";
    } else if (letter == '\r') {
      to += "\\r";
    } else if (letter == '\t') {
      to += "\\t";
    } else if (is_printable(letter)) {
      append_letter(to, letter);
    } else {
      char code[16];
      const char* format = letter < 0x100 ? "\\x%02x" : letter < 0x10000 ? "\\u%04x" : "\\U%08x";
      to.append(code, static_cast<size_t>(std::snprintf(code, sizeof code, format, static_cast<unsigned>(letter))));
    }
  });
  out.text += quote;
  return out;
}

std::string repr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, number, std::chars_format::scientific).ptr;
  std::string_view view(text, static_cast<size_t>(end - text));
  std::string sign = view[0] == '-' ? "-" : "";
  view.remove_prefix(sign.size());
  const size_t e = view.find('e');
  const int exponent = std::atoi(std::string(view.substr(e + 1)).c_str());
  std::string digits(1, view[0]);
  if (e > 2) digits += view.substr(2, e - 2);
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "");
    std::snprintf(text, sizeof text, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return sign + mantissa + text;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

AttributedText escape_html(const AttributedText& text) {
  const std::string_view all = text.text;
  AttributedText out;
  size_t done = 0;
  for (size_t at = 0; at < all.size(); ++at) {
    std::string_view escape;
    switch (all[at]) {
      case '&': escape = "&amp;"; break;
      case '<': escape = "&lt;"; break;
      case '>': escape = "&gt;"; break;
      case '\'': escape = "&#39;"; break;
      case '"': escape = "&#34;"; break;
      default: continue;
    }
    out.append(text, all.substr(done, at - done));
    out.add(escape, text.provenance.said(at, at + 1));
    done = at + 1;
  }
  out.append(text, all.substr(done));
  return out;
}

namespace {

// Removes the underscores that Python allows between digits; false when one stands elsewhere.
bool remove_underscores(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
               !std::isalnum(static_cast<unsigned char>(text[i + 1]))) {
      return false;
    }
  }
  return true;
}

int base_of_prefix(std::string_view text) {
  if (text.size() < 2 || text[0] != '0') return 10;
  const char letter = static_cast<char>(text[1] | 32);
  return letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
}

}  // namespace

bool parse_integer(std::string_view text, int base, int64_t& number, bool& overflow) {
  overflow = false;
  text = strip(text, Side::both);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  const int prefix = base_of_prefix(text);
  bool prefixed = false;
  if (prefix != 10 && (base == 0 || base == prefix)) {
    text.remove_prefix(2), prefixed = true;
    if (!text.empty() && text[0] == '_') text.remove_prefix(1);
  }
  std::string digits;
  if (!remove_underscores(text, digits) || digits.empty()) return false;
  if (base == 0) {
    base = prefixed ? prefix : 10;
    if (!prefixed && digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos) return false;
  }
  uint64_t magnitude = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (result.ptr != digits.data() + digits.size()) return false;
  const uint64_t most = uint64_t{1} << 63;
  overflow = result.ec == std::errc::result_out_of_range || magnitude > (negative ? most : most - 1);
  number = static_cast<int64_t>(negative ? -magnitude : magnitude);
  return true;
}

bool parse_real(std::string_view text, double& number) {
  text = strip(text, Side::both);
  double sign = 1;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    sign = text[0] == '-' ? -1 : 1;
    text.remove_prefix(1);
  }
  const std::string word = lower(text);
  if (word == "inf" || word == "infinity") return number = sign * INFINITY, true;
  if (word == "nan") return number = NAN, true;
  std::string digits;
  if (text.empty() || (text[0] != '.' && !std::isdigit(static_cast<unsigned char>(text[0])))) return false;
  if (!remove_underscores(text, digits)) return false;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (result.ptr != digits.data() + digits.size()) return false;
  if (result.ec == std::errc::result_out_of_range) number = std::strtod(digits.c_str(), nullptr);
  number *= sign;
  return true;
}

}  // namespace cachalot::jinja
