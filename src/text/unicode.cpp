#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"

namespace cachalot {
namespace {

constexpr uint8_t ascii_class(int c) {
  if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return kLetter;
  if (c >= '0' && c <= '9') return kNumber;
  if (c == '\r' || c == '\n') return kSpace | kNewline;
  if (c == ' ' || (c >= 9 && c <= 13)) return kSpace;
  constexpr std::string_view symbols = "$+<=>^`|~";
  if (symbols.find(static_cast<char>(c)) != std::string_view::npos) return kSymbol;
  return c > ' ' && c < 127 ? kPunctuation : 0;
}

bool is_wide_space(char32_t c) {
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// False only when no normal form C of a text can differ because of this character. Nothing below U+0300 composes with
// what precedes it or decomposes for good; above, characters that neither decompose, nor reorder, nor can be the
// second half of a composition are inert. Conservative: true for composed letters that would come back unchanged.
bool may_change_under_nfc(char32_t c) {
  if (c < 0x300) return false;
  if ((c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7A3)) return false;  // Han, Hangul syllables
  if (c >= 0x1100 && c <= 0x11FF) return true;                                     // Hangul parts
  const utf8proc_property_t& p = *utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  return p.combining_class != 0 || p.decomp_seqindex != UINT16_MAX || p.comb_index != UINT16_MAX;
}

}  // namespace

const std::array<uint8_t, 128> kAsciiClasses = [] {
  std::array<uint8_t, 128> classes{};
  for (int c = 0; c < 128; ++c) classes[c] = ascii_class(c);
  return classes;
}();

CodePoint code_point_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && is_continuation(text[at])) --at;
  return code_point_at(text, at);
}

void append_utf8(std::string& out, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  out.append(reinterpret_cast<const char*>(bytes), length);
}

Utf8Step utf8_step(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {Utf8::valid, 1};
  if (first < 0xC2 || first > 0xF4) return {Utf8::malformed, 1};
  const int bytes = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (int i = 1; i < bytes; ++i) {
    if (at + i == text.size()) return {Utf8::incomplete, i};
    const bool good = i == 1 ? byte(1) >= low && byte(1) <= high : is_continuation(byte(i));
    if (!good) return {Utf8::malformed, i};
  }
  return {Utf8::valid, bytes};
}

bool is_valid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = utf8_step(text, at);
    if (step.kind != Utf8::valid) return false;
    at += step.bytes;
  }
  return true;
}

std::string repaired_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = utf8_step(bytes, at);
    if (step.kind == Utf8::valid) {
      out.append(bytes, at, step.bytes);
    } else {
      append_utf8(out, 0xFFFD);
    }
    at += step.bytes;
  }
  return out;
}

uint8_t char_classes_beyond_ascii(char32_t c) {
  uint8_t bits = is_wide_space(c) ? kSpace : 0;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return bits | kLetter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return bits | kMark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return bits | kNumber;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return bits | kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return bits | kSymbol;
    default: return bits;
  }
}

bool is_word(char32_t c) {
  if (char_classes(c) & (kLetter | kMark)) return true;
  if (c == 0x200C || c == 0x200D) return true;
  if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189)) {
    return true;
  }
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC;
}

std::string nfc(std::string_view text) {
  bool inert = true;
  for (size_t at = 0; at < text.size() && inert;) {
    const CodePoint c = code_point_at(text, at);
    inert = !may_change_under_nfc(c.value);
    at += c.bytes;
  }
  if (inert) return std::string(text);

  // utf8proc's own decomposition sorts marks by exchanging neighbours, which is quadratic on hostile text; so it is
  // asked only for single characters and for the composition, and the marks are sorted here.
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.bytes;
    utf8proc_int32_t parts[32];
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), parts, 32,
                                               static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE), nullptr);
    CHECK(count > 0 && count <= 32, "decomposition of U+{:04X}", static_cast<uint32_t>(c.value));
    chars.insert(chars.end(), parts, parts + count);
  }
  std::vector<uint64_t> run;  // of marks: class, place and code point in one number each, so that sorting is stable
  for (size_t i = 0; i < chars.size();) {
    run.clear();
    size_t end = i;
    for (; end < chars.size(); ++end) {
      const uint64_t order = combining_class(chars[end]);
      if (order == 0) break;
      run.push_back(order << 56 | (end - i) << 21 | static_cast<uint64_t>(chars[end]));
    }
    std::sort(run.begin(), run.end());
    for (const uint64_t mark : run) chars[i++] = static_cast<utf8proc_int32_t>(mark & 0x1FFFFF);
    i = end + 1;
  }
  // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): flags, to be or-ed
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto length = utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()), options);
  CHECK(length >= 0);
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) append_utf8(out, static_cast<char32_t>(chars[i]));
  return out;
}

// Bytes 33-126, 161-172 and 174-255 are their own letters; the other 68, in order, are U+0100 and on.
char32_t letter_of_byte(uint8_t byte) {
  if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174) return byte;
  if (byte <= 32) return 0x100 + byte;
  if (byte <= 160) return 0x100 + 33 + (byte - 127);
  return 0x100 + 67;
}

std::optional<uint8_t> byte_of_letter(char32_t letter) {
  if (letter < 0x100) {
    const auto byte = static_cast<uint8_t>(letter);
    return letter_of_byte(byte) == letter ? std::optional(byte) : std::nullopt;
  }
  const char32_t index = letter - 0x100;
  if (index <= 32) return static_cast<uint8_t>(index);
  if (index <= 66) return static_cast<uint8_t>(127 + index - 33);
  return index == 67 ? std::optional<uint8_t>(173) : std::nullopt;
}

std::string letters_of_bytes(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) append_utf8(out, letter_of_byte(static_cast<uint8_t>(byte)));
  return out;
}

std::optional<std::string> bytes_of_letters(std::string_view letters) {
  std::string out;
  out.reserve(letters.size());
  for (size_t at = 0; at < letters.size();) {
    const Utf8Step step = utf8_step(letters, at);
    if (step.kind != Utf8::valid) return std::nullopt;
    const auto byte = byte_of_letter(code_point_at(letters, at).value);
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
    at += step.bytes;
  }
  return out;
}

}  // namespace cachalot
