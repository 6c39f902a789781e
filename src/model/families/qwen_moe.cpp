// Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B) and Qwen3-MoE: the dense families' attention with a softmax router;
// Qwen2's has a shared expert beside the routed ones, weighted by a sigmoid of its own.
#include "model/family.h"

namespace cachalot {

// A model of 0 experts is a dense one.
static bool no_experts(const Config& c) { return c.integer("num_experts") == 0; }

static Defaults defaults(const Defaults& own) {
  Defaults defaults = {{"max_position_embeddings", 32768}, {"rms_norm_eps", 1e-6},    {"use_sliding_window", false},
                       {"sliding_window", 4096},           {"norm_topk_prob", false}, {"decoder_sparse_step", 1}};
  defaults.insert(defaults.end(), own.begin(), own.end());
  return defaults;
}

static ModelSpec qwen2_spec(const Config& config) {
  static const Defaults kDefaults = defaults(
      {{"num_key_value_heads", 16}, {"num_experts_per_tok", 4}, {"qkv_bias", true}, {"max_window_layers", 28}});
  const Config c = config.with_defaults(kDefaults);
  ModelSpec m =
      dense_decoder_spec(c, {.qkv_bias = c.boolean_or("qkv_bias", false), .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::even_below_max_window_layers);
  if (no_experts(c)) return m;
  MoeSpec moe = qwen_moe_spec(c);
  moe.shared.hidden = c.integer("shared_expert_intermediate_size", 1);
  moe.shared_gate = true;
  set_qwen_moe(c, moe, m);
  return m;
}

static ModelSpec qwen3_spec(const Config& config) {
  static const Defaults kDefaults =
      defaults({{"num_key_value_heads", 4}, {"num_experts_per_tok", 8}, {"attention_bias", false}});
  // transformers 5 keeps and saves the number of experts under the name that other families use.
  const Config c = config.with_alias("num_local_experts", "num_experts").with_defaults(kDefaults);
  const bool bias = c.boolean_or("attention_bias", false);
  ModelSpec m = dense_decoder_spec(
      c, {.qkv_bias = bias, .out_bias = bias, .qk_norm = true, .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::all);
  if (!no_experts(c)) set_qwen_moe(c, qwen_moe_spec(c), m);
  return m;
}

static const std::vector<IgnoredTensor> kIgnored = {{"*.rotary_emb.inv_freq", "computed from the config"}};

extern const Family kQwen2Moe, kQwen3Moe;
const Family kQwen2Moe = {
    .name = "qwen2_moe",
    .hf_classes = {"Qwen2MoeForCausalLM", "Qwen2MoeModel"},
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
    .hf_classes = {"Qwen3MoeForCausalLM", "Qwen3MoeModel"},
    .spec = qwen3_spec,
    .weights = moe_names({
        // slot         safetensors                         GGUF                  split between ranks
        {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", Split::none},
        {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", Split::none},
    }),
    .ignored = kIgnored};

}  // namespace cachalot
