// Runs given tokens through a model and hands out the logits of every row, streamed: what `logits`, `perplexity`,
// `trace` and `bench` need. One sequence, no sampling.
#pragma once

#include <functional>
#include <optional>

#include "engine/engine.h"

namespace cachalot {

struct ScoreOptions {
  DType kv = DType::bf16;
  int chunk = 0;            // tokens per forward pass; 0 = 512, or all where tokens see later ones
  int decode_from = -1;     // from this token on one token per pass; -1 = never
  int declared_tokens = 0;  // the sequence's declared length, as if the rest had been generated; 0 = all of them
  std::optional<std::vector<PositionSpan>>
      expanded;  // MLA: see BatchSequence; none = a prompt's of the declared length
  bool last_only = false;
  bool no_head = false;  // forward passes only, no logits
};

// Rows whose logits are computed at once.
int scored_at_once(int vocab);

// row: position of the token whose next-token logits these are.
using RowSink = std::function<void(int row, std::span<const float> logits_W)>;

// Throws Error for an id outside the vocabulary, and for `chunk` or `decode_from` with a model whose tokens see later
// ones.
void score(Ops& ops, const Transformer& model, std::span<const int32_t> tokens, const ScoreOptions& options,
           const RowSink& sink);

}  // namespace cachalot
