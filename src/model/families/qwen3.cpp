// Qwen3, dense: no biases, RMSNorm on each head of q and k before RoPE, head size stated apart from the width.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  ModelSpec m = decoder_spec(c);
  const int heads = c.integer("num_attention_heads", 1);
  const int size = c.integer_or("head_dim", 128, 1, 1 << 16);
  const bool bias = c.boolean_or("attention_bias", false);
  const RopeSpec rope = rope_spec(c, size, RopePairing::halves);
  for (int i = 0; i < static_cast<int>(m.layers.size()); ++i) {
    m.layers[static_cast<size_t>(i)] = {
        .attention = {.heads = heads,
                      .kv_heads = c.integer_or("num_key_value_heads", heads, 1),
                      .head_dim = size,
                      .qkv_bias = bias,
                      .out_bias = bias,
                      .qk_norm = true,
                      .rope = rope,
                      .window = window_of_layer(c, i)},
        .ffn = {.hidden = c.integer("intermediate_size", 1)}};
  }
  return m;
}

extern const Family kQwen3;
const Family kQwen3 = {
    .name = "qwen3",
    .hf_classes = {"Qwen3ForCausalLM"},
    .spec = spec,
    .weights = decoder_names({
        // slot         safetensors                         GGUF                  split between ranks
        {"attn.q_norm", "model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", Split::none},
        {"attn.k_norm", "model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", Split::none}}),
    .ignored = {
        {"*.rotary_emb.inv_freq", "computed from the config"},
        {"lm_head.weight", "a tied head is the embedding; some savers write a copy"}}};

}  // namespace cachalot
