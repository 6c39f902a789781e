// Qwen2 and Qwen2.5, dense, with Qwen1.5, QwQ and R1-Distill-Qwen: Llama's block plus biases on q, k and v.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  ModelSpec m = dense_decoder_spec(c, {.qkv_bias = true, .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m);
  return m;
}

extern const Family kQwen2;
const Family kQwen2 = {.name = "qwen2",
                       .hf_classes = {"Qwen2ForCausalLM"},
                       .spec = spec,
                       .weights = decoder_names(),
                       .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"},
                                   {"lm_head.weight", "a tied head is the embedding; Qwen1.5-0.5B ships a copy"}}};

}  // namespace cachalot
