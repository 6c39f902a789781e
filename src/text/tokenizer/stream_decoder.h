// Tokens to text while they arrive. A character may span several tokens, so an unfinished one is held back; what
// comes out is valid UTF-8 at every step, and all of it together equals Tokenizer::decode of all ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace cachalot {

class StreamDecoder {
 public:
  // Keeps a reference: the tokenizer must outlive the decoder. Of the special tokens that are skipped, `kept` are
  // not.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special, std::vector<int32_t> kept = {})
      : tokenizer_(tokenizer), skip_special_(skip_special), kept_(std::move(kept)) {}

  // The text that `id` completes; often all of its own, sometimes nothing yet.
  std::string push(int id);
  // The end: an unfinished character becomes U+FFFD. The decoder can be used again afterwards.
  std::string flush();
  // A character has begun and is held back.
  bool holds() const { return !pending_.empty(); }

 private:
  bool skips(int id) const;

  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<int32_t> kept_;
  std::string pending_;  // the well-formed beginning of a character, at most 3 bytes
};

}  // namespace cachalot
