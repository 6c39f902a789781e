// The variants that the two reports describe and no released model has, each a key of the config: see
// docs/cachalot-family.md. Attention with compressed keys and values, plain LogN, symmetric windows, frequencies that
// grow with the length, learned positions; two-layer feed-forwards, Swish with beta; a biased softmax router.
#include "base/error.h"
#include "model/family.h"

namespace cachalot {

// One of the names that a key may have.
static std::string choice(const Config& c, std::string_view key, std::string_view fallback,
                          std::initializer_list<std::string_view> known) {
  std::string value = c.text_or(key, fallback);
  for (const std::string_view name : known)
    if (value == name) return value;
  throw Error(fmt::format("{} '{}' is not known", key, value))
      .in(c.where())
      .because(fmt::format("known: {}", fmt::join(known, ", ")));
}

// Throws Error for keys that say nothing unless `when`.
static void refuse_idle(const Config& c, std::string_view when, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys)
    if (c.has(key)) throw Error(fmt::format("'{}' means nothing without {}", key, when)).in(c.where());
}

static RopeSpec rope(const Config& c, int head_dim) {
  if (!c.boolean_or("use_rope", true)) {
    refuse_idle(c, "use_rope", {"rope_theta", "rope_pairing", "rope_log_gamma", "rope_scaling", "rope_parameters"});
    return {};
  }
  const bool halves = choice(c, "rope_pairing", "halves", {"halves", "pairs"}) == "halves";
  RopeSpec rope = rope_spec(c, head_dim, halves ? RopePairing::halves : RopePairing::pairs);
  if (const double gamma = c.number_or("rope_log_gamma", 0); gamma != 0) {
    if (rope.scaling != RopeScaling::none) throw Error("RoPE is scaled twice").in(c.where());
    rope.scaling = RopeScaling::log_ntk;
    rope.gamma = gamma;
  }
  return rope;
}

static GqaSpec attention(const Config& c, const ModelSpec& m) {
  GqaSpec a = gqa_heads(
      c, m, {.qkv_bias = c.boolean_or("qkv_bias", false), .out_bias = c.boolean_or("attention_out_bias", false)});
  a.rope = rope(c, a.head_dim);
  const std::string logn = choice(c, "logn", "none", {"none", "log", "released"});
  if (logn == "log") a.logn.form = LogNSpec::Form::log;
  if (logn != "released") refuse_idle(c, "logn 'released'", {"logn_length"});
  if (logn == "released") a.logn = {LogNSpec::Form::released, c.integer("logn_length", 2)};
  a.compressed_dim = c.integer_or("kv_compression_dim", 0, 0, 1 << 20);
  if (a.compressed_dim > 0 && (a.compressed_dim % a.heads != 0 || a.kv_heads != a.heads))
    throw Error(
        fmt::format("kv_compression_dim {} does not give {} heads of one size each", a.compressed_dim, a.heads))
        .in(c.where())
        .because("it must be a multiple of num_attention_heads, and num_key_value_heads the same");
  return a;
}

// windows[i] = w: keys i-w … i+w (symmetric) or i-w … i (causal); 0 = all before.
static void read_windows(const Config& c, ModelSpec& m) {
  const std::vector<int> windows = c.integers("windows");
  if (windows.empty()) {
    refuse_idle(c, "windows", {"window_form"});
    return;
  }
  if (windows.size() != m.layers.size())
    throw Error(fmt::format("windows has {} entries for {} layers", windows.size(), m.layers.size())).in(c.where());
  const bool symmetric = choice(c, "window_form", "causal", {"symmetric", "causal"}) == "symmetric";
  for (size_t i = 0; i < windows.size(); ++i) {
    if (windows[i] < 0) throw Error("a window is negative").in(c.where());
    if (windows[i] == 0) continue;
    auto& a = std::get<GqaSpec>(m.layers[i].attention);
    a.window = windows[i] + 1;
    if (symmetric) a.ahead = windows[i];
  }
}

static FfnSpec ffn(const Config& c, int hidden) {
  FfnSpec f{.hidden = hidden, .form = {}, .bias = c.boolean_or("ffn_bias", false)};
  f.form.gated = choice(c, "ffn_form", "gated", {"gated", "two_layer"}) == "gated";
  if (choice(c, "hidden_act", "silu", {"silu", "gelu"}) == "gelu") {
    refuse_idle(c, "hidden_act 'silu'", {"swish_beta"});
    f.form.activation.form = Activation::Form::gelu;
  } else {
    f.form.activation.beta = c.number_or("swish_beta", 1);
  }
  return f;
}

static MoeSpec moe(const Config& c) {
  MoeSpec s = qwen_moe_spec(c);
  s.router_bias = c.boolean_or("router_bias", false);
  s.expert = ffn(c, s.expert.hidden);
  if (const int shared = shared_hidden(c, "num_shared_experts", s.expert.hidden); shared > 0)
    s.shared = ffn(c, shared);
  return s;
}

static ModelSpec spec(const Config& c) {
  ModelSpec m;
  m.width = c.integer("hidden_size", 1, 1 << 20);
  m.vocab = c.integer("vocab_size", 1, 1 << 24);
  m.context = c.integer("max_position_embeddings", 1);
  m.norm_eps = positive(c, "rms_norm_eps", 1e-6);
  m.tied_head = c.boolean_or("tie_word_embeddings", false);
  m.head_bias = c.boolean_or("head_bias", false);
  if (c.boolean_or("learned_positions", false)) m.learned_positions = m.context;

  const GqaSpec layer_attention = attention(c, m);
  const int layers = c.integer("num_hidden_layers", 1, 4096);
  const bool experts = c.integer_or("num_experts", 0, 0) > 0;
  if (!experts) refuse_idle(c, "num_experts", {"first_dense_layers", "router_bias", "num_shared_experts"});
  const int dense = experts ? c.integer_or("first_dense_layers", 0, 0) : layers;
  for (int i = 0; i < layers; ++i) {
    if (i < dense)
      m.layers.push_back({layer_attention, ffn(c, c.integer("intermediate_size", 1))});
    else
      m.layers.push_back({layer_attention, moe(c)});
  }
  read_windows(c, m);
  return m;
}

extern const Family kCachalot;
const Family kCachalot = {.name = "cachalot",
                          .hf_classes = {"CachalotForCausalLM"},
                          .spec = spec,
                          .weights = moe_names({
                              // slot            safetensors                                       GGUF (none)
                              {"positions", "model.embed_positions", ""},
                              {"attn.k_compress", "model.layers.{}.self_attn.k_compress", ""},
                              {"attn.v_compress", "model.layers.{}.self_attn.v_compress", ""},
                              {"ffn.up", "model.layers.{}.mlp.fc1", ""},
                              {"ffn.down", "model.layers.{}.mlp.fc2", ""},
                              {"experts.up", "model.layers.{}.mlp.experts.{e}.fc1", ""},
                              {"experts.down", "model.layers.{}.mlp.experts.{e}.fc2", ""},
                              {"shared.gate", "model.layers.{}.mlp.shared_experts.gate_proj", ""},
                              {"shared.up", "model.layers.{}.mlp.shared_experts.up_proj", ""},
                              {"shared.up", "model.layers.{}.mlp.shared_experts.fc1", ""},
                              {"shared.down", "model.layers.{}.mlp.shared_experts.down_proj", ""},
                              {"shared.down", "model.layers.{}.mlp.shared_experts.fc2", ""},
                          }),
                          .ignored = {}};

}  // namespace cachalot
