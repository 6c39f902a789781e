// Multi-head and grouped-query attention: G key-value heads serve H query heads, head h reads kv head h / (H / G).
#pragma once

#include "model/blocks/block.h"

namespace cachalot {

struct GqaWeights {
  Linear q, k, v, out;
  Weight q_norm_K, k_norm_K;
  Linear k_compress, v_compress;  // [D', U], no biases
};

struct GqaSpec {
  using Weights = GqaWeights;

  int heads = 0;          // H, query heads
  int kv_heads = 0;       // G; H is a multiple of G
  int head_dim = 0;       // K = V, size of a head
  bool qkv_bias = false;  // biases on the q, k and v projections
  bool out_bias = false;  // bias on the output projection
  bool qk_norm = false;   // RMSNorm over each head of q and k, before RoPE; one gain for all heads
  RopeSpec rope;          // dim = head_dim, or 0 for none
  LogNSpec logn;
  int window = 0;  // keys visible to a query up to itself, itself included; 0 = all
  int ahead = 0;   // keys visible after it (symmetric windows): such a model reads whole texts and generates none
  // D', 0 = none: keys and values of all heads are compressed by a matrix each before they are cached, and queries by
  // the keys' matrix; attention then has heads of D' / heads components. Needs kv_heads = heads.
  int compressed_dim = 0;

  int cached_head_dim() const { return compressed_dim > 0 ? compressed_dim / heads : head_dim; }

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const;
  void list(Weights& w, ParameterVisitor& visit) const;
  AttentionFacts facts() const;
  Cached cached() const;
  AttentionCost cost() const;
  Description describe(const LayerShare& share) const;
};

}  // namespace cachalot
