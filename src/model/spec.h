// What a model is, as data: one LayerSpec per layer, so windows, rope and feed-forward may differ from layer to
// layer. Made by a family from a checkpoint's Config; const afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/rope.h"

namespace cachalot {

// Multi-head or grouped-query attention.
struct GqaSpec {
  int heads = 0;          // H, query heads
  int kv_heads = 0;       // G; H is a multiple of G
  int head_dim = 0;       // K = V, size of a head
  bool qkv_bias = false;  // biases on the q, k and v projections
  bool out_bias = false;  // bias on the output projection
  bool qk_norm = false;   // RMSNorm over each head of q and k, before RoPE; one gain for all heads
  RopeSpec rope;
  int window = 0;  // keys visible to a query, itself included; 0 = all before it
};

// y = W_down(silu(W_gate x) * W_up x)
struct SwigluSpec {
  int hidden = 0;     // F
  bool bias = false;  // on all three
};

struct LayerSpec {
  GqaSpec attention;
  SwigluSpec ffn;
};

struct ModelSpec {
  std::string family;
  int width = 0;    // D
  int vocab = 0;    // W, rows of the embedding
  int context = 0;  // tokens that the checkpoint promises
  double norm_eps = 1e-6;
  bool tied_head = false;  // the output head is the embedding
  std::vector<LayerSpec> layers;
};

}  // namespace cachalot
