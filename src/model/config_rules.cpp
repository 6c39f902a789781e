// Readings of config keys that mean the same in every family (declared in family.h). RoPE's are in rope_rules.cpp.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"

namespace cachalot {

std::vector<SlotName> decoder_names(std::vector<SlotName> own) {
  std::vector<SlotName> names = {// slot       safetensors                                 GGUF
                                 {"embed", "model.embed_tokens", "token_embd"},
                                 {"attn.norm", "model.layers.{}.input_layernorm", "blk.{}.attn_norm"},
                                 {"attn.q", "model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"},
                                 {"attn.k", "model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"},
                                 {"attn.v", "model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"},
                                 {"attn.out", "model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
                                 {"ffn.norm", "model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
                                 {"ffn.gate", "model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
                                 {"ffn.up", "model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"},
                                 {"ffn.down", "model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
                                 {"norm", "model.norm", "output_norm"},
                                 {"head", "lm_head", "output"}};
  names.insert(names.end(), own.begin(), own.end());
  return names;
}

std::vector<SlotName> moe_names(std::vector<SlotName> own) {
  std::vector<SlotName> names = decoder_names({
      // slot            safetensors                                  GGUF
      {"moe.router", "model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"},
      {"experts.gate", "model.layers.{}.mlp.experts.{e}.gate_proj", "blk.{}.ffn_gate_exps"},
      {"experts.up", "model.layers.{}.mlp.experts.{e}.up_proj", "blk.{}.ffn_up_exps"},
      {"experts.down", "model.layers.{}.mlp.experts.{e}.down_proj", "blk.{}.ffn_down_exps"},
      // As transformers 5 saves them and as some GGUF files fuse them.
      {"experts.gate_up", "model.layers.{}.mlp.experts.gate_up_proj", "blk.{}.ffn_gate_up_exps"},
      {"experts.down", "model.layers.{}.mlp.experts.down_proj", ""},
  });
  names.insert(names.end(), own.begin(), own.end());
  return names;
}

// Embedding models say so of themselves. transformers asks for Python's truth.
static void check_causal(const Config& c) {
  const auto said = c.json().find("is_causal");
  if (said == c.json().end() || (!said->empty() && *said != false && *said != 0 && *said != "")) return;
  throw Error("attention in both directions is not supported")
      .in(c.where())
      .because(fmt::format("is_causal = {}", said->dump()));
}

ModelSpec decoder_spec(const Config& c) {
  check_causal(c);
  ModelSpec m;
  m.width = c.integer("hidden_size", 1, 1 << 20);
  m.vocab = c.integer("vocab_size", 1, 1 << 24);
  m.context = c.integer("max_position_embeddings", 1);
  m.norm_eps = c.number("rms_norm_eps");
  if (m.norm_eps < 0) throw Error("rms_norm_eps is negative").in(c.where());
  if (const auto activation = c.text_or("hidden_act", "silu"); activation != "silu" && activation != "swish")
    throw Error(fmt::format("hidden_act '{}' is not supported", activation))
        .in(c.where())
        .because("known: silu, also named swish");
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

MoeSpec qwen_moe_spec(const Config& c) {
  MoeSpec moe;
  moe.gate = {.experts = c.integer("num_experts", 1, 1 << 16),
              .active = c.integer("num_experts_per_tok", 1, 1 << 16),
              .normalised = c.boolean_or("norm_topk_prob", false)};
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

double positive(const Config& c, std::string_view key) {
  const double value = c.number(key);
  if (!(value > 0)) throw Error(fmt::format("'{}' must be positive, not {}", key, value)).in(c.where());
  return value;
}

double positive(const Config& c, std::string_view key, double fallback) {
  return c.has(key) ? positive(c, key) : fallback;
}

// layer_types says layer by layer which are windowed.
static bool listed_as_windowed(const Config& c, const std::vector<std::string>& types, size_t layer) {
  const std::string& type = types[layer];
  if (type == "full_attention" || type == "attention") return false;  // the latter in files of old
  if (type != "sliding_attention") throw Error(fmt::format("layer type '{}' is not supported", type)).in(c.where());
  return true;
}

static bool windowed_by_rule(const Config& c, WindowRule rule, int layer) {
  const int bound = c.integer("max_window_layers");
  return rule == WindowRule::from_max_window_layers ? layer >= bound : layer % 2 == 0 && layer < bound;
}

std::vector<int> windows_of_layers(const Config& c, int layers, WindowRule rule) {
  const auto types = c.texts("layer_types");
  if (!types.empty() && std::ssize(types) != layers)
    throw Error(fmt::format("layer_types has {} entries for {} layers", types.size(), layers)).in(c.where());
  std::vector<bool> listed;
  for (size_t i = 0; i < types.size(); ++i) listed.push_back(listed_as_windowed(c, types, i));

  const bool asked = c.boolean_or("use_sliding_window", false), windows = asked && c.has("sliding_window");
  if (rule == WindowRule::even_below_max_window_layers && asked && !windows)  // the other classes take it for none
    throw Error("use_sliding_window asks for windows, but sliding_window is null").in(c.where());
  const int window = windows ? c.integer("sliding_window", 1) : 0;
  if (rule == WindowRule::all) {
    if (std::find(listed.begin(), listed.end(), !windows) != listed.end())
      warn("{}: layer_types is ignored, as the reference does: use_sliding_window is for all layers of this family",
           c.where());
    return std::vector<int>(static_cast<size_t>(layers), window);
  }
  std::vector<int> sizes;
  for (int i = 0; i < layers; ++i) {
    if (!listed.empty() && listed[static_cast<size_t>(i)] && !windows)
      throw Error(fmt::format("layer {} asks for a window, but none is given", i))
          .in(c.where())
          .because(
              "layer_types says sliding_attention while use_sliding_window is false or sliding_window is absent");
    const bool windowed = listed.empty() ? windows && windowed_by_rule(c, rule, i) : listed[static_cast<size_t>(i)];
    sizes.push_back(windowed ? window : 0);
  }
  return sizes;
}

void set_windows(const Config& c, ModelSpec& m, WindowRule rule) {
  const auto windows = windows_of_layers(c, static_cast<int>(m.layers.size()), rule);
  for (size_t i = 0; i < m.layers.size(); ++i) std::get<GqaSpec>(m.layers[i].attention).window = windows[i];
}

}  // namespace cachalot
