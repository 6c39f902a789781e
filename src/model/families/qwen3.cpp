// Qwen3, dense: no biases, RMSNorm on each head of q and k before RoPE, head size stated apart from the width.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  const bool bias = c.boolean_or("attention_bias", false);
  ModelSpec m = dense_decoder_spec(c, {.head_dim = c.integer_or("head_dim", 128, 1, 1 << 16),
                                       .qkv_bias = bias,
                                       .out_bias = bias,
                                       .qk_norm = true,
                                       .rope = {.pairing = RopePairing::halves}});
  set_windows(c, m);
  return m;
}

extern const Family kQwen3;
const Family kQwen3 = {
    .name = "qwen3",
    .hf_classes = {"Qwen3ForCausalLM"},
    .spec = spec,
    .weights =
        decoder_names({// slot         safetensors                         GGUF                  split between ranks
                       {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", Split::none},
                       {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", Split::none}}),
    .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"},
                {"lm_head.weight", "a tied head is the embedding; some savers write a copy"}}};

}  // namespace cachalot
