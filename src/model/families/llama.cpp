// Llama 2 and 3 with R1-Distill-Llama: grouped-query attention, SwiGLU, no biases unless the config asks for them.
#include "model/family.h"

namespace cachalot {

static const Defaults kDefaults = {
    {"max_position_embeddings", 2048}, {"rms_norm_eps", 1e-6}, {"attention_bias", false}, {"mlp_bias", false}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  const bool bias = c.boolean_or("attention_bias", false);
  return dense_decoder_spec(c, {.qkv_bias = bias, .out_bias = bias, .rope = {.pairing = RopePairing::halves}},
                            c.boolean_or("mlp_bias", false));
}

extern const Family kLlama;
const Family kLlama = {.name = "llama",
                       .hf_classes = {"LlamaForCausalLM", "LlamaModel"},
                       .spec = spec,
                       .weights = decoder_names(),
                       .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"},
                                   {"rope_freqs.weight", "GGUF's RoPE divisors; the config carries them"}}};

}  // namespace cachalot
