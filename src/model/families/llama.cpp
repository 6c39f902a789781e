// Llama 2 and 3 with R1-Distill-Llama: grouped-query attention, SwiGLU, no biases unless the config asks for them.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  const bool bias = c.boolean_or("attention_bias", false);
  return dense_decoder_spec(c, {.qkv_bias = bias, .out_bias = bias, .rope = {.pairing = RopePairing::halves}},
                            c.boolean_or("mlp_bias", false));
}

extern const Family kLlama;
const Family kLlama = {.name = "llama",
                       .hf_classes = {"LlamaForCausalLM"},
                       .spec = spec,
                       .weights = decoder_names(),
                       .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"},
                                   {"rope_freqs.weight", "GGUF's RoPE divisors; the config carries them"},
                                   {"lm_head.weight", "a tied head is the embedding; some savers write a copy"}}};

}  // namespace cachalot
