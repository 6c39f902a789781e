#include "base/quote.h"

#include <fmt/format.h>

namespace cachalot {

// The length of the valid UTF-8 sequence that `text` starts with; 0 when there is none (RFC 3629, table 3-7 of
// Unicode).
static size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                        : first >= 0xe0 && first <= 0xef ? 3
                        : first >= 0xf0 && first <= 0xf4 ? 4
                                                         : 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;  // overlong, surrogate
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;  // overlong, beyond U+10FFFF
  return length;
}

std::string quote(std::string_view text, size_t limit_bytes) {
  std::string quoted = "'";
  for (size_t i = 0; i < text.size();) {
    if (i >= limit_bytes) return quoted + fmt::format("…' ({} bytes)", text.size());
    const size_t length = sequence_length(text.substr(i));
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1_control = length == 2 && byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (length == 0 || byte < 0x20 || byte == 0x7f || c1_control) {
      quoted += fmt::format("\\x{:02x}", byte);
      ++i;
    } else {
      quoted += text.substr(i, length);
      i += length;
    }
  }
  return quoted + "'";
}

}  // namespace cachalot
