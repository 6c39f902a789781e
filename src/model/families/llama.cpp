// Llama 2 and 3 with R1-Distill-Llama: grouped-query attention, SwiGLU, no biases unless the config asks for them.
#include "model/family.h"

namespace cachalot {

static ModelSpec spec(const Config& c) {
  ModelSpec m = decoder_spec(c);
  const int heads = c.integer("num_attention_heads", 1), size = head_dim(c, m.width, heads);
  const bool attention_bias = c.boolean_or("attention_bias", false);
  const RopeSpec rope = rope_spec(c, size, RopePairing::halves);
  for (LayerSpec& layer : m.layers) {
    layer = {.attention = {.heads = heads,
                           .kv_heads = c.integer_or("num_key_value_heads", heads, 1),
                           .head_dim = size,
                           .qkv_bias = attention_bias,
                           .out_bias = attention_bias,
                           .rope = rope},
             .ffn = {.hidden = c.integer("intermediate_size", 1), .bias = c.boolean_or("mlp_bias", false)}};
  }
  return m;
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
