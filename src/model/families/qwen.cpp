// Qwen1 (Qwen-1.8B, 7B, 14B, 72B with their chat models, 2023): one matrix for q, k and v with a bias, SwiGLU whose
// stated width is twice the real one, dynamic NTK and LogN attention past the training length.
// Source: arXiv:2309.16609; the modelling code released with the checkpoints.
#include "base/error.h"
#include "model/family.h"

namespace cachalot {

static RopeSpec rope(const Config& c, int head_dim) {
  if (const double part = c.number("rotary_pct"); part != 1)
    throw Error(fmt::format("rotary_pct {} is not supported", part)).in(c.where());
  if (head_dim % 2 != 0)
    throw Error(fmt::format("a head of {} components cannot be rotated in pairs", head_dim)).in(c.where());
  RopeSpec rope{.dim = head_dim, .base = positive(c, "rotary_emb_base"), .pairing = RopePairing::halves};
  if (c.boolean_or("use_dynamic_ntk", false)) {
    rope.scaling = RopeScaling::qwen_ntk;
    rope.trained_tokens = c.integer("seq_length", 1);
  }
  return rope;
}

// configuration_qwen.py, released with the checkpoints. It has no seq_length, which the modelling code needs.
static const Defaults kDefaults = {
    {"max_position_embeddings", 8192}, {"layer_norm_epsilon", 1e-6}, {"kv_channels", 128},    {"rotary_pct", 1.0},
    {"rotary_emb_base", 10000},        {"use_dynamic_ntk", true},    {"use_logn_attn", true}, {"no_bias", true}};

static ModelSpec spec(const Config& config) {
  const Config c = config.with_defaults(kDefaults);
  ModelSpec m;
  m.width = c.integer("hidden_size", 1, 1 << 20);
  m.vocab = c.integer("vocab_size", 1, 1 << 24);
  m.context = c.integer("max_position_embeddings", 1);
  m.norm_eps = positive(c, "layer_norm_epsilon");
  m.tied_head = c.boolean_or("tie_word_embeddings", false);
  if (!c.boolean_or("no_bias", false))
    throw Error("no_bias false is not supported").in(c.where()).because("no released checkpoint has these biases");

  GqaSpec attention{.heads = c.integer("num_attention_heads", 1, 1 << 16), .qkv_bias = true};
  attention.kv_heads = attention.heads;
  attention.head_dim = c.integer("kv_channels", 1, 1 << 16);
  attention.rope = rope(c, attention.head_dim);
  if (c.boolean_or("use_logn_attn", false))
    attention.logn = {.form = LogNSpec::Form::released, .trained_tokens = c.integer("seq_length", 2)};

  const int both = c.integer("intermediate_size", 2);
  if (both % 2 != 0)
    throw Error("intermediate_size is odd, but it is twice the width of the feed-forward").in(c.where());
  m.layers.assign(static_cast<size_t>(c.integer("num_hidden_layers", 1, 4096)),
                  {attention, FfnSpec{.hidden = both / 2, .form = {}, .bias = false}});
  return m;
}

extern const Family kQwen;
const Family kQwen = {.name = "qwen",
                      .hf_classes = {"QWenLMHeadModel", "QWenModel"},
                      .spec = spec,
                      .weights =
                          {// slot       safetensors                    GGUF               split between ranks
                           {"embed", "transformer.wte", "token_embd", Split::rows},
                           {"attn.norm", "transformer.h.{}.ln_1", "blk.{}.attn_norm", Split::none},
                           {"attn.qkv", "transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv", Split::rows},
                           {"attn.out", "transformer.h.{}.attn.c_proj", "blk.{}.attn_output", Split::columns},
                           {"ffn.norm", "transformer.h.{}.ln_2", "blk.{}.ffn_norm", Split::none},
                           {"ffn.gate", "transformer.h.{}.mlp.w2", "blk.{}.ffn_gate", Split::rows},
                           {"ffn.up", "transformer.h.{}.mlp.w1", "blk.{}.ffn_up", Split::rows},
                           {"ffn.down", "transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down", Split::columns},
                           {"norm", "transformer.ln_f", "output_norm", Split::none},
                           {"head", "lm_head", "output", Split::rows}},
                      .ignored = {{"*.rotary_emb.inv_freq", "computed from the config"}}};

}  // namespace cachalot
