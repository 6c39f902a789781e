// Configs as the classes of transformers read and write them: what save_pretrained makes of a config describes the
// same model, and a key that is left out means what the class says (tools/goldens/class_configs.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/goldens.h"

namespace cachalot::testing {

using nlohmann::json;
using ::testing::HasSubstr;

static json read_golden(const char* name) {
  return json::parse(std::ifstream(golden_root() / "class_configs" / name)).at("values");
}

// -- A spec as text that tells any two apart

static std::string described(const RopeSpec& r) {
  return fmt::format("rope {} {} {} {} {} {} {}/{} {} {} {}/{} {} [{}] [{}]", r.dim, r.base, int(r.pairing),
                     int(r.scaling), r.factor, r.trained_tokens, r.beta_fast, r.beta_slow, r.truncate,
                     r.attention_factor, r.low_freq_factor, r.high_freq_factor, r.gamma, fmt::join(r.divisors, " "),
                     fmt::join(r.long_divisors, " "));
}

static std::string described(const GqaSpec& a) {
  return fmt::format("gqa {} {} {} {} {} {} {} logn {} {} window {} {} {}", a.heads, a.kv_heads, a.head_dim,
                     a.qkv_bias, a.out_bias, a.qk_norm, described(a.rope), int(a.logn.form), a.logn.trained_tokens,
                     a.window, a.ahead, a.compressed_dim);
}

static std::string described(const MlaSpec& a) {
  return fmt::format("mla {} {} {} {} {} {} {} {} {}", a.heads, a.q_rank, a.kv_rank, a.nope_dim, a.value_dim, a.bias,
                     described(a.rope), a.softmax_scale, a.norm_eps);
}

static std::string described(const FfnSpec& f) {
  return fmt::format("ffn {} {} {} {} {}", f.hidden, f.form.gated, int(f.form.activation.form),
                     f.form.activation.beta, f.bias);
}

static std::string described(const MoeSpec& s) {
  const MoeGateSpec& g = s.gate;
  return fmt::format("moe {} {} {} {} {} {} {} {} bias {} {} {} shared {} {}", g.experts, g.active, int(g.score),
                     g.groups, g.active_groups, int(g.group_score), g.normalised, g.scale, s.router_bias,
                     s.correction_bias, described(s.expert), described(s.shared), s.shared_gate);
}

static std::string described(const LayerSpec& layer) {
  const auto part = [](const auto& spec) { return described(spec); };
  return std::visit(part, layer.attention) + "; " + std::visit(part, layer.ffn) + "\n";
}

static std::string described(const ModelSpec& m) {
  std::string text = fmt::format("{} {} {} {} {} {} {} {}\n", m.width, m.vocab, m.context, m.norm_eps, m.tied_head,
                                 m.head_bias, m.learned_positions, m.stored_mtp);
  for (const LayerSpec& layer : m.layers) text += described(layer);
  for (const LayerSpec& layer : m.mtp) text += "mtp: " + described(layer);
  return text;
}

// The spec of a config, or what is wrong with it.
static std::string spec_text(const json& raw) {
  try {
    const Config config(raw, "config.json");
    return described(family_of(config).spec(config));
  } catch (const Error& e) { return e.what(); }
}

// -- Tests

TEST(ClassConfigs, WhatTransformersSavesDescribesTheSameModel) {
  const json resaved = read_golden("resaved.json");
  EXPECT_GT(resaved.size(), 60u);
  for (const auto& [file, saved] : resaved.items()) {
    const std::string published = spec_text(Config::read(golden_root() / file).json());
    EXPECT_THAT(published, HasSubstr("rope")) << file;
    EXPECT_EQ(spec_text(saved), published) << file;
  }
}

TEST(ClassConfigs, AKeyThatIsLeftOutMeansWhatTheClassSays) {
  const json families = read_golden("defaults.json");
  for (const auto& [family, golden] : families.items()) {
    json base = golden["base"];
    base["model_type"] = family;
    for (const auto& [key, values] : golden["keys"].items()) {
      SCOPED_TRACE(family + ": " + key);
      json absent = base, stated = base, other = base;
      absent.erase(key);
      stated[key] = values["default"];
      other[key] = values["other"];
      EXPECT_EQ(spec_text(absent), spec_text(stated));
      if (values["other"] != values["default"]) {
        EXPECT_NE(spec_text(other), spec_text(absent)) << "it is not read";
      }
    }
    EXPECT_THAT(spec_text(base), HasSubstr("rope"));
  }
}

TEST(ClassConfigs, SizesThatTensorsShowAreNeverGuessed) {
  const json families = read_golden("defaults.json");
  for (const auto& [family, golden] : families.items())
    for (const std::string key : golden["required"]) {
      json config = golden["base"];
      config["model_type"] = family;
      config.erase(key);
      EXPECT_THAT(spec_text(config), HasSubstr("the key '" + key + "' is missing")) << family;
    }
}

// Source: the facts of configuration_qwen.py, released with the checkpoints; its class has no seq_length.
TEST(ClassConfigs, Qwen1sDefaultsAreThoseOfTheReleasedClass) {
  const json base = {{"model_type", "qwen"},   {"hidden_size", 256},       {"vocab_size", 32},
                     {"num_hidden_layers", 2}, {"num_attention_heads", 2}, {"intermediate_size", 64},
                     {"seq_length", 512}};
  const json stated = {
      {"max_position_embeddings", 8192}, {"layer_norm_epsilon", 1e-6}, {"kv_channels", 128},    {"rotary_pct", 1.0},
      {"rotary_emb_base", 10000},        {"use_dynamic_ntk", true},    {"use_logn_attn", true}, {"no_bias", true},
      {"tie_word_embeddings", false}};
  EXPECT_THAT(spec_text(base), HasSubstr("rope"));
  for (const auto& [key, value] : stated.items()) {
    json config = base;
    config[key] = value;
    EXPECT_EQ(spec_text(config), spec_text(base)) << key;
  }
  json without = base;
  without.erase("seq_length");
  EXPECT_THAT(spec_text(without), HasSubstr("the key 'seq_length' is missing"));
}

// Both names of a key: the one that is no field of the class is set last and wins, as transformers has it.
TEST(ClassConfigs, TheNumberOfExpertsHasTwoNames) {
  const auto experts = [](const char* family, const json& change) {
    json config = read_golden("defaults.json")[family]["base"];
    config["model_type"] = family;
    config.erase("num_experts");
    config.erase("n_routed_experts");
    config.update(change);
    const Config c(config, "config.json");
    return std::get<MoeSpec>(family_of(c).spec(c).layers.back().ffn).gate.experts;
  };
  EXPECT_EQ(experts("qwen3_moe", {{"num_local_experts", 24}}), 24);
  EXPECT_EQ(experts("qwen3_moe", {{"num_local_experts", 24}, {"num_experts", 16}}), 24);
  EXPECT_EQ(experts("deepseek_v3", {{"num_local_experts", 24}, {"n_routed_experts", 16}}), 24);
  EXPECT_EQ(experts("deepseek_v2", {{"num_experts", 24}, {"n_routed_experts", 16}}), 24);
}

TEST(ClassConfigs, ZeroExpertsAreADenseModel) {
  for (const char* family : {"qwen2_moe", "qwen3_moe"}) {
    json config = read_golden("defaults.json")[family]["base"];
    config["model_type"] = family;
    config["num_experts"] = 0;
    EXPECT_THAT(spec_text(config), ::testing::Not(HasSubstr("moe"))) << family;
    EXPECT_THAT(spec_text(config), HasSubstr("rope")) << family;
  }
}

TEST(ClassConfigs, AConfigIsOfTheFamilyThatItsClassOrTypeNames) {
  const auto family = [](const json& config) -> std::string {
    try {
      return std::string(family_of(Config(config, "config.json")).name);
    } catch (const Error& e) { return e.what(); }
  };
  EXPECT_EQ(family({{"model_type", "qwen3"}}), "qwen3");
  EXPECT_EQ(family({{"model_type", "qwen3"}, {"architectures", nullptr}}), "qwen3");
  EXPECT_EQ(family({{"model_type", "qwen3"}, {"architectures", json::array()}}), "qwen3");
  EXPECT_EQ(family({{"architectures", {"Qwen3Model"}}}), "qwen3");
  EXPECT_EQ(family({{"model_type", "kimi_k2"}, {"architectures", {"DeepseekV3ForCausalLM"}}}), "deepseek_v3");
  EXPECT_THAT(family({{"model_type", "qwen2"}, {"architectures", {"Qwen3ForCausalLM"}}}),
              HasSubstr("says two things"));
  EXPECT_THAT(family({{"model_type", "qwen3"}, {"architectures", {"Qwen3ForTokenClassification"}}}),
              HasSubstr("'Qwen3ForTokenClassification' are not supported"));
  EXPECT_THAT(family({{"model_type", "gpt2"}}), HasSubstr("models of type 'gpt2' are not supported"));
  EXPECT_THAT(family(json::object()), HasSubstr("names no architecture"));
}

}  // namespace cachalot::testing
