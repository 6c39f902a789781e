// Readings of config keys that mean the same in every family (declared in family.h).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"

namespace cachalot {

std::vector<SlotName> decoder_names(std::vector<SlotName> own) {
  std::vector<SlotName> names = {
      // slot       safetensors                                 GGUF                  split between ranks
      {"embed", "model.embed_tokens", "token_embd", Split::rows},
      {"attn.norm", "model.layers.{}.input_layernorm", "blk.{}.attn_norm", Split::none},
      {"attn.q", "model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", Split::rows},
      {"attn.k", "model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", Split::rows},
      {"attn.v", "model.layers.{}.self_attn.v_proj", "blk.{}.attn_v", Split::rows},
      {"attn.out", "model.layers.{}.self_attn.o_proj", "blk.{}.attn_output", Split::columns},
      {"ffn.norm", "model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", Split::none},
      {"ffn.gate", "model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate", Split::rows},
      {"ffn.up", "model.layers.{}.mlp.up_proj", "blk.{}.ffn_up", Split::rows},
      {"ffn.down", "model.layers.{}.mlp.down_proj", "blk.{}.ffn_down", Split::columns},
      {"norm", "model.norm", "output_norm", Split::none},
      {"head", "lm_head", "output", Split::rows}};
  names.insert(names.end(), own.begin(), own.end());
  return names;
}

std::vector<SlotName> moe_names(std::vector<SlotName> own) {
  std::vector<SlotName> names = decoder_names({
      // slot            safetensors                                  GGUF                         split between ranks
      {"moe.router", "model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp", Split::none},
      {"experts.gate", "model.layers.{}.mlp.experts.{e}.gate_proj", "blk.{}.ffn_gate_exps", Split::experts},
      {"experts.up", "model.layers.{}.mlp.experts.{e}.up_proj", "blk.{}.ffn_up_exps", Split::experts},
      {"experts.down", "model.layers.{}.mlp.experts.{e}.down_proj", "blk.{}.ffn_down_exps", Split::experts},
      // As transformers 5 saves them and as some GGUF files fuse them.
      {"experts.gate_up", "model.layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps", Split::experts},
      {"experts.down", "model.layers.{}.mlp.experts.down_proj", "", Split::experts},
  });
  names.insert(names.end(), own.begin(), own.end());
  return names;
}

ModelSpec decoder_spec(const Config& c) {
  ModelSpec m;
  m.width = c.integer("hidden_size", 1, 1 << 20);
  m.vocab = c.integer("vocab_size", 1, 1 << 24);
  m.context = c.integer("max_position_embeddings", 1);
  m.norm_eps = c.number("rms_norm_eps");
  if (m.norm_eps < 0) throw Error("rms_norm_eps is negative").in(c.where());
  if (const auto activation = c.text_or("hidden_act", "silu"); activation != "silu")
    throw Error(fmt::format("hidden_act '{}' is not supported", activation)).in(c.where()).because("known: silu");
  m.tied_head = c.boolean_or("tie_word_embeddings", false);
  m.layers.resize(static_cast<size_t>(c.integer("num_hidden_layers", 1, 4096)));
  return m;
}

// The config's head_dim, or width / heads where it has none.
static int head_dim(const Config& c, int width, int heads) {
  if (c.has("head_dim")) return c.integer("head_dim", 1, 1 << 16);
  if (width % heads != 0)
    throw Error("hidden_size is not a multiple of num_attention_heads and there is no head_dim").in(c.where());
  return width / heads;
}

GqaSpec gqa_heads(const Config& c, const ModelSpec& m, GqaSpec a) {
  a.heads = c.integer("num_attention_heads", 1, 1 << 16);
  a.kv_heads = c.integer_or("num_key_value_heads", a.heads, 1, 1 << 16);
  if (a.heads % a.kv_heads != 0)
    throw Error(fmt::format("{} attention heads cannot share {} key-value heads evenly", a.heads, a.kv_heads))
        .in(c.where());
  if (a.head_dim == 0) a.head_dim = head_dim(c, m.width, a.heads);
  return a;
}

GqaSpec gqa_spec(const Config& c, const ModelSpec& m, const GqaSpec& stated) {
  GqaSpec a = gqa_heads(c, m, stated);
  a.rope = rope_spec(c, a.head_dim, a.rope.pairing);
  return a;
}

ModelSpec dense_decoder_spec(const Config& c, const GqaSpec& attention, bool ffn_bias) {
  ModelSpec m = decoder_spec(c);
  const FfnSpec ffn{.hidden = c.integer("intermediate_size", 1), .form = {}, .bias = ffn_bias};
  for (LayerSpec& layer : m.layers) layer = {gqa_spec(c, m, attention), ffn};
  return m;
}

void set_windows(const Config& c, ModelSpec& m) {
  for (size_t i = 0; i < m.layers.size(); ++i)
    std::get<GqaSpec>(m.layers[i].attention).window = window_of_layer(c, static_cast<int>(i));
}

int shared_hidden(const Config& c, std::string_view key, int expert_hidden) {
  return c.integer_or(key, 0, 0, (1 << 30) / expert_hidden) * expert_hidden;
}

void check_gate(const Config& c, const MoeGateSpec& g) {
  if (g.experts % g.groups != 0)
    throw Error(fmt::format("{} experts do not form {} equal groups", g.experts, g.groups)).in(c.where());
  if (g.active_groups > g.groups)
    throw Error(fmt::format("{} of {} groups of experts cannot be open", g.active_groups, g.groups)).in(c.where());
  if (g.active > g.experts / g.groups * g.active_groups)
    throw Error(fmt::format("{} experts per token cannot be chosen among {}", g.active,
                            g.experts / g.groups * g.active_groups))
        .in(c.where());
}

MoeSpec qwen_moe_spec(const Config& c, bool normalised_by_default) {
  MoeSpec moe;
  moe.gate = {.experts = c.integer("num_experts", 1, 1 << 16),
              .active = c.integer("num_experts_per_tok", 1, 1 << 16),
              .normalised = c.boolean_or("norm_topk_prob", normalised_by_default)};
  check_gate(c, moe.gate);
  moe.expert.hidden = c.integer("moe_intermediate_size", 1);
  return moe;
}

void set_qwen_moe(const Config& c, const MoeSpec& moe, ModelSpec& m) {
  const auto dense = c.integers("mlp_only_layers");
  const int step = c.integer_or("decoder_sparse_step", 1, 1);
  for (size_t i = 0; i < m.layers.size(); ++i)
    if (std::find(dense.begin(), dense.end(), static_cast<int>(i)) == dense.end() && (i + 1) % step == 0)
      m.layers[i].ffn = moe;
}

double positive(const Config& c, std::string_view key, double fallback) {
  const double value = c.number_or(key, fallback);
  if (!(value > 0)) throw Error(fmt::format("'{}' must be positive, not {}", key, value)).in(c.where());
  return value;
}

static void read_yarn(const Config& s, const Config& c, RopeSpec& rope) {
  rope.trained_tokens = s.integer_or("original_max_position_embeddings", c.integer("max_position_embeddings", 1), 1);
  if (!s.has("factor"))
    rope.factor = c.integer("max_position_embeddings", 1) / static_cast<double>(rope.trained_tokens);
  rope.beta_fast = positive(s, "beta_fast", 32);
  rope.beta_slow = positive(s, "beta_slow", 1);
  rope.truncate = s.boolean_or("truncate", true);
  const auto optional = [&](std::string_view key) {
    return s.has(key) ? std::optional(s.number(key)) : std::nullopt;
  };
  if (s.has("attn_factor"))
    warn("{}: 'attn_factor' is ignored, as the reference does; it reads 'attention_factor'", s.where());
  rope.attention_factor = s.has("attention_factor")
                              ? s.number("attention_factor")
                              : yarn_attention_factor(rope.factor, optional("mscale"), optional("mscale_all_dim"));
}

RopeSpec rope_spec(const Config& c, int dim, RopePairing pairing) {
  RopeSpec rope{.dim = dim, .pairing = pairing};
  if (dim % 2 != 0) throw Error(fmt::format("a head of {} components cannot be rotated in pairs", dim)).in(c.where());
  const auto parameters = c.object("rope_parameters"), scaling = c.object("rope_scaling");
  const Config& s = scaling ? *scaling : parameters ? *parameters : c;
  rope.base = positive(s.has("rope_theta") ? s : c, "rope_theta", 10000);
  if (!parameters && !scaling) return rope;

  const std::string type = s.text_or("rope_type", s.text_or("type", "default"));
  if (const double part = s.number_or("partial_rotary_factor", 1); part != 1)
    throw Error(fmt::format("partial_rotary_factor {} is not supported", part)).in(s.where());
  rope.factor = positive(s, "factor", 1);
  if (type == "default" || type == "none") return rope;
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "dynamic") {
    rope.scaling = RopeScaling::dynamic;
    rope.trained_tokens = c.integer("max_position_embeddings", 1);
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::yarn;
    read_yarn(s, c, rope);
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    rope.trained_tokens =
        s.integer_or("original_max_position_embeddings", c.integer("max_position_embeddings", 1), 1);
    rope.low_freq_factor = positive(s, "low_freq_factor", 1);
    rope.high_freq_factor = positive(s, "high_freq_factor", 4);
    if (rope.high_freq_factor == rope.low_freq_factor)
      throw Error("high_freq_factor equals low_freq_factor").in(s.where());
  } else if (type == "divisors") {
    rope.scaling = RopeScaling::divisors;
    rope.divisors = s.numbers("divisors");
    if (static_cast<int>(rope.divisors.size()) != dim / 2)
      throw Error(fmt::format("{} RoPE divisors for {} pairs", rope.divisors.size(), dim / 2)).in(s.where());
  } else {
    throw Error(fmt::format("RoPE scaling of type '{}' is not supported", type))
        .in(s.where())
        .because("known types: default, linear, dynamic, yarn, llama3");
  }
  return rope;
}

int window_of_layer(const Config& c, int layer) {
  const auto types = c.texts("layer_types");
  const bool windows = c.boolean_or("use_sliding_window", false) && c.has("sliding_window");
  const int window = windows ? c.integer("sliding_window", 1) : 0;
  if (types.empty()) return layer >= c.integer_or("max_window_layers", 28) ? window : 0;

  if (static_cast<size_t>(layer) >= types.size())
    throw Error(fmt::format("layer_types has {} entries, layer {} has none", types.size(), layer)).in(c.where());
  const std::string& type = types[static_cast<size_t>(layer)];
  if (type == "full_attention") return 0;
  if (type != "sliding_attention") throw Error(fmt::format("layer type '{}' is not supported", type)).in(c.where());
  if (!windows)
    throw Error(fmt::format("layer {} asks for a window, but none is given", layer))
        .in(c.where())
        .because("layer_types says sliding_attention while use_sliding_window is false or sliding_window is absent");
  return window;
}

}  // namespace cachalot
