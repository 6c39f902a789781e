// The blocks of a decoder, written once against Ops. Shape letters: docs/tensors.md.
#pragma once

#include "model/weights.h"

namespace cachalot {

// What a block needs of the step besides its input.
struct StepContext {
  const Batch& batch;
  KvCache& cache;
  int layer;           // its place in the cache
  Tensor angles_TR;    // cos and sin of this layer's RoPE
  std::string prefix;  // "layer.3.", the start of its marked points
};

// Each is [T, D] -> [T, D], without the residual.

// Grouped-query attention with optional biases, per-head norms, LogN and compression of what is cached.
Tensor gqa(Ops& op, const GqaSpec& s, const GqaWeights& w, const Tensor& x_TD, double norm_eps,
           const StepContext& step);

// Multi-head latent attention.
Tensor mla(Ops& op, const MlaSpec& s, const MlaWeights& w, const Tensor& x_TD, const StepContext& step);

// Feed-forward network; `point` names its marked point.
Tensor ffn(Ops& op, const FfnSpec& s, const FfnWeights& w, const Tensor& x_TD, const std::string& point);

// Mixture of experts.
Tensor moe(Ops& op, const MoeSpec& s, const MoeWeights& w, const Tensor& x_TD, const StepContext& step);

}  // namespace cachalot
