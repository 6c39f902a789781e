// Speculative decoding: tokens are guessed, computed together with the last one, and kept as far as the model itself
// would have chosen them. What is kept is what the sampler draws row by row from the model's own logits, so the
// answer is the same, token for token and seed for seed, as without; only the number of forward passes changes.
// Source: Leviathan et al., arXiv:2211.17192 (for drafts that are certain of themselves, its rule is this one).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cachalot {

enum class Speculation {
  off,
  lookup,  // what followed the last occurrence of the same few tokens in the text so far; for every model
  mtp      // the checkpoint's own module for the token after the next (DeepSeek-V3)
};
std::string_view name(Speculation form);

// Prompt lookup: the tokens, at most `most`, that followed the latest earlier occurrence of the text's end; the
// longest end of 4, 3 or 2 tokens that occurs counts. Empty when none does. Time: proportional to the text. Source:
// Saxena, "Prompt lookup decoding", 2023.
std::vector<int32_t> draft_by_lookup(std::span<const int32_t> tokens, int most);

}  // namespace cachalot
