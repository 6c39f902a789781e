// Qwen2 and Qwen2.5, dense, with Qwen1.5, QwQ and R1-Distill-Qwen: Llama's block plus biases on q, k and v.
#include "model/family.h"

namespace cachalot {

static const Defaults kDefaults = {{"num_key_value_heads", 32}, {"max_position_embeddings", 32768},
                                   {"rms_norm_eps", 1e-6},      {"use_sliding_window", false},
                                   {"sliding_window", 4096},    {"max_window_layers", 28}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  ModelSpec m = dense_decoder_spec(c, {.qkv_bias = true, .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m, WindowRule::from_max_window_layers);
  return m;
}

extern const Family kQwen2;
const Family kQwen2 = {.name = "qwen2",
                       .hf_classes = {"Qwen2ForCausalLM", "Qwen2Model"},
                       .spec = spec,
                       .weights = decoder_names(),
                       .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"}},
                       .gguf = {.architecture = "qwen2",
                                .keys = decoder_keys({gqa_keys()}),
                                .complete = complete_gqa,
                                .usual_pre_tokenizer = "qwen2"},
                       .replies = {.calls = {CallForm::tagged_json, CallForm::deepseek_v3}}};

}  // namespace cachalot
