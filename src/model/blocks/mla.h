// Multi-head latent attention: keys and values of all heads come from one latent of kv_rank numbers per token, beside
// one rotary key that the heads share. The cache keeps those C + R numbers instead of H * (K + V).
#pragma once

#include "model/blocks/block.h"

namespace cachalot {

struct MlaWeights {
  Linear q;  // not compressed; else the three below
  Linear q_down;
  Weight q_norm_Q;
  Linear q_up;
  Linear kv_down;
  Weight kv_norm_C;
  LatentWeights up;
  Linear out;
};

struct MlaSpec {
  using Weights = MlaWeights;

  int heads = 0;      // H
  int q_rank = 0;     // Q, rank of the compressed queries; 0 = not compressed (V2-Lite)
  int kv_rank = 0;    // C
  int nope_dim = 0;   // N, unrotated part of a query and key
  int value_dim = 0;  // V
  bool bias = false;  // on the two down-projections and the output projection
  RopeSpec rope;      // dim = R
  double softmax_scale = 1;
  double norm_eps = 1e-6;  // of the norms of both latents, which the released code fixes whatever the config says

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const;
  void list(Weights& w, ParameterVisitor& visit) const;
  AttentionFacts facts() const;
  Cached cached() const;
  AttentionCost cost() const;
  Description describe(const LayerShare& share) const;
};

}  // namespace cachalot
