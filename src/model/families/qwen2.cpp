// Qwen2 and Qwen2.5, dense, with Qwen1.5, QwQ and R1-Distill-Qwen: Llama's block plus biases on q, k and v.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  ModelSpec m = decoder_spec(c);
  const int heads = c.integer("num_attention_heads", 1), size = head_dim(c, m.width, heads);
  const RopeSpec rope = rope_spec(c, size, RopePairing::halves);
  for (int i = 0; i < static_cast<int>(m.layers.size()); ++i) {
    m.layers[static_cast<size_t>(i)] = {
        .attention = {.heads = heads,
                      .kv_heads = c.integer_or("num_key_value_heads", heads, 1),
                      .head_dim = size,
                      .qkv_bias = true,
                      .rope = rope,
                      .window = window_of_layer(c, i)},
        .ffn = {.hidden = c.integer("intermediate_size", 1)}};
  }
  return m;
}

extern const Family kQwen2;
const Family kQwen2 = {
    .name = "qwen2",
    .hf_classes = {"Qwen2ForCausalLM"},
    .spec = spec,
    .weights = decoder_names(),
    .ignored = {
        {"*.rotary_emb.inv_freq", "computed from the config"},
        {"lm_head.weight", "a tied head is the embedding; Qwen1.5-0.5B ships a copy"}}};

}  // namespace cachalot
