// The work of one forward pass: rows of several sequences side by side, prefill chunks and single decode tokens
// alike.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace cachalot {

constexpr int kBlockTokens = 64;  // positions per block of the KV cache; and what attention goes through it by

template <typename Int>
constexpr Int blocks_of(Int tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

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
  // MLA: the positions that take the expanded form, all others the absorbed one (expanded_spans()). Ascending,
  // disjoint. Borrowed for the step.
  std::span<const PositionSpan> expanded;
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

// Which positions of a prompt take MLA's expanded form, from the prompt alone. Its earlier answers were generated, so
// they are absorbed. Of what stands between them, all that is long enough for keys and values of the whole history to
// be worth building for it is expanded (the forms cost the same arithmetic at about 171 rows for every released
// shape, and the expanded one runs at a higher share of the peak), and the rest absorbed. So a turn's rows have the
// same form in the prompts of all later turns.
constexpr int kExpandedFromTokens = 128;
std::vector<PositionSpan> expanded_spans(int prompt_tokens, std::span<const PositionSpan> answers = {});

// Calls run(position, rows, expanded) for runs of a sequence's rows that take one form of MLA, in order.
template <typename Run>
void for_each_form(const BatchSequence& s, const Run& run) {
  int position = s.first_position;
  const auto take_until = [&](int end, bool expanded) {
    if (end <= position) return;
    run(position, end - position, expanded);
    position = end;
  };
  const int end = s.first_position + s.rows;
  for (const PositionSpan& span : s.expanded) {
    take_until(std::min(span.begin, end), false);
    take_until(std::min(span.end, end), true);
  }
  take_until(end, false);
}

}  // namespace cachalot
