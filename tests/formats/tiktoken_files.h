// The text of vocabulary files in Qwen 1's form.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "text/unicode.h"

namespace cachalot {

inline std::string base64(std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < count; ++i)
      bits |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (16 - 8 * i);
    for (size_t i = 0; i < 4; ++i) out += i <= count ? letters[bits >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

inline std::string tiktoken_line(std::string_view bytes, size_t rank) {
  return base64(bytes) + " " + std::to_string(rank) + "\n";
}

// Qwen 1's own, from Qwen3's tokenizer.json, whose first 151,643 tokens are the same.
inline std::string qwen1_tiktoken() {
  const Vocabulary qwen3 = read_hf_vocabulary(vocabulary_folder("qwen3"));
  std::string text;
  for (size_t id = 0; id < 151643; ++id) text += tiktoken_line(*bytes_of_letters(qwen3.tokens[id]), id);
  return text;
}

}  // namespace cachalot
