// Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B) and Qwen3-MoE: the dense families' attention with a softmax router;
// Qwen2's has a shared expert beside the routed ones, weighted by a sigmoid of its own.
#include "model/family.h"

namespace cachalot {

static ModelSpec qwen2_spec(const Config& c) {
  ModelSpec m =
      dense_decoder_spec(c, {.qkv_bias = c.boolean_or("qkv_bias", true), .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m);
  MoeSpec moe = qwen_moe_spec(c, /*normalised_by_default=*/false);
  moe.shared.hidden = c.integer("shared_expert_intermediate_size", 1);
  moe.shared_gate = true;
  set_qwen_moe(c, moe, m);
  return m;
}

static ModelSpec qwen3_spec(const Config& c) {
  const bool bias = c.boolean_or("attention_bias", false);
  ModelSpec m = dense_decoder_spec(
      c, {.qkv_bias = bias, .out_bias = bias, .qk_norm = true, .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m);
  set_qwen_moe(c, qwen_moe_spec(c, /*normalised_by_default=*/false), m);
  return m;
}

static const std::vector<IgnoredTensor> kIgnored = {
    {"*.rotary_emb.inv_freq", "computed from the config"},
    {"lm_head.weight", "a tied head is the embedding; some savers write a copy"}};

extern const Family kQwen2Moe, kQwen3Moe;
const Family kQwen2Moe = {
    .name = "qwen2_moe",
    .hf_classes = {"Qwen2MoeForCausalLM"},
    .spec = qwen2_spec,
    .weights = moe_names({
        // slot          safetensors                                      GGUF                   split between ranks
        {"shared.gate", "model.layers.{}.mlp.shared_expert.gate_proj", "blk.{}.ffn_gate_shexp", Split::rows},
        {"shared.up", "model.layers.{}.mlp.shared_expert.up_proj", "blk.{}.ffn_up_shexp", Split::rows},
        {"shared.down", "model.layers.{}.mlp.shared_expert.down_proj", "blk.{}.ffn_down_shexp", Split::columns},
        {"shared.scale", "model.layers.{}.mlp.shared_expert_gate", "blk.{}.ffn_gate_inp_shexp", Split::none},
    }),
    .ignored = kIgnored};

const Family kQwen3Moe = {
    .name = "qwen3_moe",
    .hf_classes = {"Qwen3MoeForCausalLM"},
    .spec = qwen3_spec,
    .weights = moe_names({
        // slot         safetensors                         GGUF                  split between ranks
        {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", Split::none},
        {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", Split::none},
    }),
    .ignored = kIgnored};

}  // namespace cachalot
