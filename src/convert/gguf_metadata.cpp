#include "convert/gguf_metadata.h"

#include <fmt/ranges.h>

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "model/family.h"

namespace cachalot {
namespace {

struct Architecture {
  std::string_view family, name;
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama"},        {"qwen2", "qwen2"},           {"qwen3", "qwen3"},          {"qwen2_moe", "qwen2moe"},
    {"qwen3_moe", "qwen3moe"}, {"deepseek_v2", "deepseek2"}, {"deepseek_v3", "deepseek2"}};

class MetadataWriter {
 public:
  MetadataWriter(const Config& config, const ModelSpec& spec, GgufMetadata& out)
      : config_(config), spec_(spec), arch_(gguf_architecture(config)), out_(out) {}

  void run() {
    const LayerSpec& first = spec_.layers[0];
    integer("block_count", static_cast<int64_t>(spec_.layers.size() + spec_.mtp.size()));
    if (!spec_.mtp.empty()) integer("nextn_predict_layers", std::ssize(spec_.mtp));
    integer("context_length", spec_.context);
    integer("embedding_length", spec_.width);
    integer("vocab_size", spec_.vocab);
    integer("attention.head_count", first.heads());
    number("attention.layer_norm_rms_epsilon", spec_.norm_eps);
    number("rope.freq_base", first.rope().base);
    feed_forward();
    std::visit([&](const auto& kind) { attention(kind); }, first.attention);
    windows();
  }

 private:
  void integer(std::string_view name, int64_t value) { out_.add(key(name), static_cast<uint32_t>(value)); }
  void number(std::string_view name, double value) { out_.add(key(name), static_cast<float>(value)); }
  void text(std::string_view name, std::string_view value) { out_.add(key(name), value); }
  void flag(std::string_view name, bool value) { out_.add(key(name), value); }
  std::string key(std::string_view name) const { return fmt::format("{}.{}", arch_, name); }

  Error cannot(std::string_view what) const {
    return Error(fmt::format("{} cannot be written as GGUF", what))
        .in(config_.where())
        .because(fmt::format("the format's architecture '{}' has no words for it", arch_));
  }

  // -- Attention: the words that the format has for each kind

  void attention(const GqaSpec& a) {
    integer("attention.head_count_kv", a.kv_heads);
    integer("attention.key_length", a.head_dim);
    integer("attention.value_length", a.head_dim);
    integer("rope.dimension_count", a.head_dim);
    if (arch_ == "qwen2moe" && !a.qkv_bias) throw cannot("attention without biases");
    if (arch_ != "llama" && arch_ != "qwen3" && arch_ != "qwen3moe" && a.out_bias)
      throw cannot("a bias on attention's output");
    rope(a.rope, false);
  }

  // The form over the latent, with one key and value head; the sizes of the others are *_mla.
  void attention(const MlaSpec& a) {
    if (a.bias) throw cannot("latent attention with biases");
    if (a.rope.pairing != RopePairing::pairs) throw cannot("latent attention that rotates halves");
    if (a.rope.scaling != RopeScaling::yarn && a.softmax_scale != 1 / std::sqrt(double(a.nope_dim + a.rope.dim)))
      throw cannot("a softmax scale of its own without YaRN");
    integer("attention.head_count_kv", 1);
    integer("attention.key_length", a.kv_rank + a.rope.dim);
    integer("attention.value_length", a.kv_rank);
    integer("attention.key_length_mla", a.nope_dim + a.rope.dim);
    integer("attention.value_length_mla", a.value_dim);
    integer("attention.kv_lora_rank", a.kv_rank);
    if (a.q_rank > 0) integer("attention.q_lora_rank", a.q_rank);
    integer("rope.dimension_count", a.rope.dim);
    rope(a.rope, true);
  }

  void windows() {
    std::vector<bool> windowed;
    int window = 0;
    for (const LayerSpec& layer : spec_.layers) {
      windowed.push_back(layer.window() > 0);
      window = std::max(window, layer.window());
    }
    if (window == 0) return;
    integer("attention.sliding_window", window);
    out_.add_array(key("attention.sliding_window_pattern"), windowed);
    warn("{}: the file states windows of {} tokens layer by layer; other programs may not read this", config_.where(),
         window);
  }

  // -- Feed-forward networks

  void feed_forward() {
    hidden_ = config_.integer_or("intermediate_size", 0, 0);
    for (const LayerSpec& layer : spec_.layers) std::visit([&](const auto& kind) { add_layer(kind); }, layer.ffn);
    integer("feed_forward_length", hidden_);
    if (!moe_) return;
    const bool deepseek = arch_ == "deepseek2";
    if (dense_ > 0 && !deepseek) throw cannot("a dense layer among those of experts");
    if (moe_->router_bias) throw cannot("a bias on the router");
    experts(*moe_);
    if (deepseek) deepseek_experts(*moe_);
  }

  void add_layer(const MoeSpec& moe) { moe_ = &moe; }
  void add_layer(const FfnSpec& ffn) {
    if (moe_) throw cannot("a dense layer after one of experts");
    ++dense_;
    hidden_ = ffn.hidden;
  }

  void experts(const MoeSpec& moe) {
    integer("expert_count", moe.gate.experts);
    integer("expert_used_count", moe.gate.active);
    integer("expert_feed_forward_length", moe.expert.hidden);
    flag("expert_weights_norm", moe.gate.normalised);
    if (arch_ == "qwen2moe") integer("expert_shared_feed_forward_length", moe.shared.hidden);
  }

  void deepseek_experts(const MoeSpec& moe) {
    integer("expert_shared_count", moe.shared.hidden / moe.expert.hidden);
    number("expert_weights_scale", moe.gate.scale);
    integer("leading_dense_block_count", dense_);
    integer("expert_gating_func", moe.gate.score == GateScore::sigmoid ? 2 : 1);
    integer("expert_group_count", moe.gate.groups);
    integer("expert_group_used_count", moe.gate.active_groups);
  }

  // -- RoPE

  void rope(const RopeSpec& r, bool latent) {
    switch (r.scaling) {
      case RopeScaling::none: return;
      case RopeScaling::linear:
        text("rope.scaling.type", "linear");
        number("rope.scaling.factor", r.factor);
        return;
      case RopeScaling::yarn: return yarn(r, latent);
      case RopeScaling::llama3:  // a tensor of divisors says it
        if (arch_ != "llama") throw cannot("Llama 3's scaling of RoPE");
        return;
      default: throw cannot("a RoPE that changes with the length of the text");
    }
  }

  // The factor on cos and sin is what gguf_config.cpp makes of these keys: see yarn() there.
  void yarn(const RopeSpec& r, bool latent) {
    if (!r.truncate) throw cannot("YaRN without 'truncate'");
    text("rope.scaling.type", "yarn");
    number("rope.scaling.factor", r.factor);
    integer("rope.scaling.original_context_length", r.trained_tokens);
    if (r.beta_fast != 32) number("rope.scaling.yarn_beta_fast", r.beta_fast);
    if (r.beta_slow != 1) number("rope.scaling.yarn_beta_slow", r.beta_slow);
    double stated = latent ? 1 : r.factor > 1 ? 0.1 * std::log(r.factor) + 1 : 1;
    if (latent) {
      const Config keys = rope_keys(config_);
      const double all = keys.number_or("mscale_all_dim", 0);
      if (all != 0) {
        if (keys.number_or("mscale", all) != all) throw cannot("YaRN whose mscale and mscale_all_dim differ");
        number("rope.scaling.yarn_log_multiplier", 0.1 * all);
      }
    }
    if (std::abs(r.attention_factor / stated - 1) > 1e-6)
      number("rope.scaling.attn_factor", r.attention_factor / stated);
  }

  const Config& config_;
  const ModelSpec& spec_;
  std::string_view arch_;
  GgufMetadata& out_;
  // Of the layers seen so far:
  const MoeSpec* moe_ = nullptr;
  int dense_ = 0, hidden_ = 0;
};

}  // namespace

std::string_view gguf_architecture(const Config& config) {
  const Family& family = family_of(config);
  std::vector<std::string_view> known;
  for (const Architecture& a : kArchitectures) {
    if (family.name == a.family) return a.name;
    known.push_back(a.family);
  }
  throw Error(fmt::format("models of class '{}' cannot be written as GGUF", family.hf_classes[0]))
      .in(config.where())
      .because(fmt::format("these can: {}", fmt::join(known, ", ")));
}

void add_gguf_metadata(const Config& config, const ModelSpec& spec, GgufMetadata& out) {
  MetadataWriter(config, spec, out).run();
}

}  // namespace cachalot
