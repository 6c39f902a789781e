// Qwen3, dense: no biases, RMSNorm on each head of q and k before RoPE, head size stated apart from the width.
#include "model/family.h"

namespace cachalot {

static const Defaults kDefaults = {{"num_key_value_heads", 32},        {"head_dim", 128},
                                   {"max_position_embeddings", 32768}, {"rms_norm_eps", 1e-6},
                                   {"attention_bias", false},          {"use_sliding_window", false},
                                   {"sliding_window", 4096},           {"max_window_layers", 28}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  const bool bias = c.boolean_or("attention_bias", false);
  ModelSpec m = dense_decoder_spec(c, {.head_dim = c.integer("head_dim", 1, 1 << 16),
                                       .qkv_bias = bias,
                                       .out_bias = bias,
                                       .qk_norm = true,
                                       .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::from_max_window_layers);
  return m;
}

extern const Family kQwen3;
const Family kQwen3 = {
    .name = "qwen3",
    .hf_classes = {"Qwen3ForCausalLM", "Qwen3Model"},
    .spec = spec,
    .weights = decoder_names({// slot         safetensors                         GGUF
                              {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"},
                              {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"}}),
    .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"}},
    .gguf = {.architecture = "qwen3",
             .keys = decoder_keys({gqa_keys()}),
             .biases = {{"attention_bias", "attn.q"}},
             .complete = complete_gqa,
             .usual_pre_tokenizer = "qwen2"},
    .replies = {.calls = {CallForm::tagged_json, CallForm::tagged_xml, CallForm::deepseek_v3}}};

}  // namespace cachalot
