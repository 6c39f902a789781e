// The work of one forward pass: rows of several sequences side by side, prefill chunks and single decode tokens
// alike.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

constexpr int kBlockTokens = 64;  // positions per block of the KV cache; and what attention goes through it by

struct PositionSpan {
  int begin, end;  // [begin, end)
};

// The rows of one sequence: `rows` tokens at positions first_position, first_position + 1, …
struct BatchSequence {
  int first_row = 0;
  int rows = 0;
  int first_position = 0;
  // The declared length, fixed when the sequence was admitted: what length-dependent mathematics (dynamic RoPE) sees,
  // whatever the chunk or the batch.
  int rope_tokens = 0;
  // MLA: rows at positions below this take the expanded form, the others the absorbed one (expanded_tokens()) ...
  int expanded_tokens = 0;
  // ... and so do these below it: an assistant's earlier answers, which were generated in that form. Ascending,
  // disjoint. Borrowed for the step.
  std::span<const PositionSpan> absorbed;
  // One table per cache group: block_tables[g][p / kBlockTokens] is the block that holds position p; -1 where a
  // window has moved past. Borrowed from the sequence for the step.
  std::vector<std::span<const int32_t>> block_tables;
  int state_slot = -1;  // which slot of the States is this sequence's; -1 where the model has none
};

struct Batch {
  std::vector<int32_t> tokens_T;
  std::vector<BatchSequence> sequences;  // in row order, covering every row
  std::vector<int32_t> logit_rows;       // rows whose logits are wanted, ascending

  int64_t rows() const { return static_cast<int64_t>(tokens_T.size()); }
};

// How many leading positions of a sequence take MLA's expanded form, from its declared length alone: all of a prompt
// that is long enough for keys and values to be worth building (the forms cost the same arithmetic at about 171 rows
// for every released shape, and the expanded one runs at a higher share of the peak), none of a short one. What is
// generated after it takes the absorbed form.
constexpr int kExpandedFromTokens = 128;
constexpr int expanded_tokens(int declared_tokens) {
  return declared_tokens >= kExpandedFromTokens ? declared_tokens : 0;
}

// Calls run(position, rows, expanded) for runs of a sequence's rows that take one form of MLA, in order.
template <typename Run>
void for_each_form(const BatchSequence& s, const Run& run) {
  int position = s.first_position;
  const auto take_until = [&](int end, bool expanded) {
    if (end <= position) return;
    run(position, end - position, expanded);
    position = end;
  };
  const int end = s.first_position + s.rows, expanded_end = std::min(s.expanded_tokens, end);
  for (const PositionSpan& span : s.absorbed) {
    take_until(std::min(span.begin, expanded_end), true);
    take_until(std::min(span.end, expanded_end), false);
  }
  take_until(expanded_end, true);
  take_until(end, false);
}

}  // namespace cachalot
