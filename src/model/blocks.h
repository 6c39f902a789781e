// The blocks of a decoder, written once against Ops. Shape letters: docs/tensors.md.
#pragma once

#include "model/weights.h"

namespace cachalot {

// What a block needs of the step besides its input.
struct StepContext {
  const Batch& batch;
  KvCache& cache;
  int layer;
  Tensor angles_TR;    // cos and sin of this layer's RoPE
  std::string prefix;  // "layer.3.", the start of its marked points
};

// Grouped-query attention with optional biases and per-head norms. [T, D] -> [T, D], without the residual.
Tensor gqa(Ops& op, const GqaSpec& s, const GqaWeights& w, const Tensor& x_TD, double norm_eps,
           const StepContext& step);

// Gated feed-forward. [T, D] -> [T, D], without the residual.
Tensor swiglu(Ops& op, const SwigluWeights& w, const Tensor& x_TD, const StepContext& step);

}  // namespace cachalot
