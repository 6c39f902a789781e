// Cuts text into the pieces inside which BPE may merge. Immutable after construction, so any thread may use it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/pretokenizer/split_pattern.h"
#include "text/vocab.h"

namespace cachalot {

class PreTokenizer {
 public:
  // Throws Error on an expression that cannot be used.
  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // Replaces `pieces` by the pieces of `text` (valid UTF-8), in order and none empty. They point into `text` or, when
  // a step inserts spaces, into `storage`. Throws Error when an expression of the file runs out of steps.
  void split(std::string_view text, std::string& storage, std::vector<std::string_view>& pieces) const;

 private:
  struct Step;
  std::vector<Step> steps_;
};

}  // namespace cachalot
