// Finds added tokens in text: at each place the longest one that starts there, leftmost first, as Hugging Face's
// library does. In what was said (jinja/provenance.h) they are plain text: a token is found only where the template
// wrote the whole of it, white space that it swallows aside. Tokens that are ordinary text themselves, a single
// character or white space and not special, are found everywhere; they cannot forge what a template writes.
//
// Immutable after construction, so any thread may use it.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "jinja/provenance.h"
#include "text/vocab.h"

namespace cachalot {

class AddedTokenFinder {
 public:
  // The contents of `tokens` must be non-empty and different from each other.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  // A stretch of text: ordinary (no id), or one added token with the white space that it swallows.
  struct Part {
    size_t begin, end;
    std::optional<int> id;
  };
  // Appends the parts that make up `text` (valid UTF-8), in order and none empty.
  void split(std::string_view text, const Provenance& provenance, std::vector<Part>& parts) const;
  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* longest_at(std::string_view text, size_t at, size_t written_end) const;

  std::vector<AddedToken> tokens_;  // sorted by content
  std::vector<bool> ordinary_;      // of each: whether it is ordinary text
  struct Bucket {
    size_t begin = 0, end = 0;
  };
  std::array<Bucket, 256> by_first_byte_;  // ranges of tokens_
};

}  // namespace cachalot
