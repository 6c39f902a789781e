// What a model is, as data: one LayerSpec per layer, so attention, windows, rope and feed-forward may differ from
// layer to layer. Made by a family from a checkpoint's Config; const afterwards.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ops/ops.h"

namespace cachalot {

// Multi-head or grouped-query attention.
struct GqaSpec {
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
};

// Multi-head latent attention: keys and values of all heads come from one latent of kv_rank numbers per token, beside
// one rotary key that the heads share.
struct MlaSpec {
  int heads = 0;      // H
  int q_rank = 0;     // Q, rank of the compressed queries; 0 = not compressed (V2-Lite)
  int kv_rank = 0;    // C
  int nope_dim = 0;   // N, unrotated part of a query and key
  int value_dim = 0;  // V
  bool bias = false;  // on the two down-projections and the output projection
  RopeSpec rope;      // dim = R
  double softmax_scale = 1;
  double norm_eps = 1e-6;  // of the norms of both latents, which the released code fixes whatever the config says
};

struct FfnSpec {
  int hidden = 0;  // F; 0 = there is none
  FfnForm form;
  bool bias = false;  // on all matrices
};

struct MoeSpec {
  MoeGateSpec gate;
  bool router_bias = false;      // added to the router's logits
  bool correction_bias = false;  // added to the scores for the choice alone
  FfnSpec expert;
  FfnSpec shared;            // an expert that every token uses; its output is added unweighted ...
  bool shared_gate = false;  // ... or times a sigmoid of its own
};

struct LayerSpec {
  std::variant<GqaSpec, MlaSpec> attention;
  std::variant<FfnSpec, MoeSpec> ffn;

  const GqaSpec* gqa() const { return std::get_if<GqaSpec>(&attention); }
  const MlaSpec* mla() const { return std::get_if<MlaSpec>(&attention); }
  const FfnSpec* dense() const { return std::get_if<FfnSpec>(&ffn); }
  const MoeSpec* moe() const { return std::get_if<MoeSpec>(&ffn); }
  const RopeSpec& rope() const { return gqa() ? gqa()->rope : std::get<MlaSpec>(attention).rope; }
  int heads() const { return gqa() ? gqa()->heads : std::get<MlaSpec>(attention).heads; }
  int window() const { return gqa() ? gqa()->window : 0; }
  int ahead() const { return gqa() ? gqa()->ahead : 0; }
};

struct ModelSpec {
  std::string family;
  int width = 0;    // D
  int vocab = 0;    // W, rows of the embedding
  int context = 0;  // tokens that the checkpoint promises
  double norm_eps = 1e-6;
  bool tied_head = false;  // the output head is the embedding
  bool head_bias = false;
  int learned_positions = 0;  // rows of a table of position embeddings; 0 = none
  std::vector<LayerSpec> layers;
  // Modules that predict the token after the next (DeepSeek-V3's MTP), stored as layers of their own after the last.
  // A run that does not use them clears the list; stored_mtp says how many the checkpoint has all the same.
  std::vector<LayerSpec> mtp;
  int stored_mtp = 0;

  // Whether every token sees none that come after it.
  bool causal() const {
    for (const LayerSpec& layer : layers)
      if (layer.ahead() > 0) return false;
    return true;
  }
};

}  // namespace cachalot
