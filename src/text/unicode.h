// UTF-8, general categories, normal form C, and the byte alphabet of byte-level BPE. Pure functions, thread-safe.
// Tables: utf8proc 2.8, which knows Unicode 15; code points assigned later count as unassigned.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cachalot {

struct CodePoint {
  char32_t value;
  int bytes;  // 1 to 4
};

// The code point at byte `at`. `text` must be valid UTF-8 and `at` a border inside it.
inline CodePoint code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (first < 0xF0) return {(first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

// The code point that ends right before byte `end` (> 0) of valid UTF-8.
CodePoint code_point_before(std::string_view text, size_t end);

void append_utf8(std::string& out, char32_t c);

// How bytes at a position may go on.
enum class Utf8 { valid, malformed, incomplete };
struct Utf8Step {
  Utf8 kind;
  int bytes;  // of the character, of the maximal malformed subsequence, or of the well-formed start
};
// Looks at text[at..], which must not be empty. Source: Unicode 15, table 3-7 and section 3.9 (U+FFFD substitution of
// maximal subparts), the rule that Python's errors="replace" and Rust's from_utf8_lossy follow too.
Utf8Step utf8_step(std::string_view text, size_t at);

bool is_valid_utf8(std::string_view text);
// `bytes` with every maximal malformed subsequence replaced by one U+FFFD; an incomplete end counts as malformed.
std::string repaired_utf8(std::string_view bytes);

// General categories (\p{L} and so on) and the two properties that pre-tokenisers ask for, as bits.
enum CharClass : uint8_t {
  kLetter = 1,
  kNumber = 2,
  kPunctuation = 4,
  kSymbol = 8,
  kMark = 16,
  kSpace = 32,    // property White_Space: \s
  kNewline = 64,  // \r or \n
};
uint8_t char_classes_beyond_ascii(char32_t c);
extern const std::array<uint8_t, 128> kAsciiClasses;
inline uint8_t char_classes(char32_t c) { return c < 128 ? kAsciiClasses[c] : char_classes_beyond_ascii(c); }

// \w: letters, marks, decimal and letter numbers, connectors, joiners and the circled letters (UTS 18, annex C).
bool is_word(char32_t c);

// Normal form C of valid UTF-8. Linear but for the sorting of runs of combining marks, which is n log n.
std::string nfc(std::string_view text);

// The alphabet in which token strings are written: each byte is one visible letter (space is "Ġ").
char32_t letter_of_byte(uint8_t byte);
std::optional<uint8_t> byte_of_letter(char32_t letter);
std::string letters_of_bytes(std::string_view bytes);
// Nothing when some character is not in the alphabet or the string is not valid UTF-8.
std::optional<std::string> bytes_of_letters(std::string_view letters);

}  // namespace cachalot
