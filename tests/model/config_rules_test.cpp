// What a hostile or foreign config gets: an error that names the key, never a crash later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/family.h"
#include "support/goldens.h"

namespace cachalot {

static std::string refusal(nlohmann::json change) {
  nlohmann::json json = {{"architectures", {"Qwen2ForCausalLM"}},
                         {"hidden_size", 64},
                         {"num_hidden_layers", 2},
                         {"num_attention_heads", 6},
                         {"num_key_value_heads", 6},
                         {"head_dim", 16},
                         {"vocab_size", 100},
                         {"max_position_embeddings", 128},
                         {"intermediate_size", 96},
                         {"rms_norm_eps", 1e-6}};
  json.update(change);
  try {
    const Config config(json, "config.json");
    family_of(config).spec(config);
  } catch (const Error& e) { return e.what(); }
  return "accepted";
}

using ::testing::HasSubstr;

TEST(ConfigRules, AWholeConfigIsAccepted) { EXPECT_EQ(refusal(nlohmann::json::object()), "accepted"); }

TEST(ConfigRules, FactsThatCannotBeAreRefusedByName) {
  EXPECT_THAT(refusal({{"num_key_value_heads", 4}}), HasSubstr("6 attention heads cannot share 4 key-value heads"));
  EXPECT_THAT(refusal({{"head_dim", 15}}), HasSubstr("cannot be rotated in pairs"));
  EXPECT_THAT(refusal({{"hidden_act", "gelu"}}), HasSubstr("hidden_act 'gelu'"));
  EXPECT_THAT(refusal({{"num_hidden_layers", 0}}), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(refusal({{"rope_theta", -1.0}}), HasSubstr("rope_theta"));
  EXPECT_THAT(refusal({{"rope_scaling", {{"type", "su"}, {"factor", 2.0}}}}), HasSubstr("RoPE scaling of type 'su'"));
  EXPECT_THAT(refusal({{"architectures", {"GPT2LMHeadModel"}}}), HasSubstr("'GPT2LMHeadModel' are not supported"));
}

// transformers 5.24 (create_causal_mask) then lets every token attend to all.
TEST(ConfigRules, AttentionInBothDirectionsIsRefused) {
  using nlohmann::json;
  for (const json& value : {json(false), json(nullptr), json(0), json("")})
    EXPECT_THAT(refusal({{"is_causal", value}}), HasSubstr("attention in both directions is not supported")) << value;
  for (const json& value : {json(true), json(1), json("no")})
    EXPECT_EQ(refusal({{"is_causal", value}}), "accepted") << value;
}

TEST(ConfigRules, SwishIsAnotherNameOfSilu) { EXPECT_EQ(refusal({{"hidden_act", "swish"}}), "accepted"); }

// No class of these families rotates a part of a head: transformers ignores the key with plain RoPE and fails with
// any other. Here it is refused wherever it stands.
TEST(ConfigRules, APartialRotationIsRefusedWhereverItStands) {
  EXPECT_EQ(refusal({{"partial_rotary_factor", 1.0}}), "accepted");
  EXPECT_THAT(refusal({{"partial_rotary_factor", 0.5}}), HasSubstr("partial_rotary_factor 0.5 is not supported"));
  for (const char* key : {"rope_parameters", "rope_scaling"})
    EXPECT_THAT(refusal({{key, {{"rope_type", "default"}, {"partial_rotary_factor", 0.5}}}}),
                HasSubstr("partial_rotary_factor 0.5 is not supported"));
  EXPECT_THAT(refusal({{"partial_rotary_factor", 0.5}, {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}),
              HasSubstr("partial_rotary_factor 0.5 is not supported"));
}

TEST(ConfigRules, ARopeForEachTypeOfLayerIsRefusedByName) {
  EXPECT_THAT(refusal({{"rope_parameters", {{"full_attention", {{"rope_theta", 1e4}}}}}}),
              HasSubstr("layers of type 'full_attention'"));
}

TEST(ConfigRules, WindowsFollowTheReferencesRule) {
  const auto windows = [](nlohmann::json change) {
    nlohmann::json json = {{"sliding_window", 32}, {"max_window_layers", 2}, {"use_sliding_window", true}};
    json.update(change);
    const Config config(json, "config.json");
    return windows_of_layers(config, 4, WindowRule::from_max_window_layers);
  };
  EXPECT_EQ(windows(nlohmann::json::object()), (std::vector<int>{0, 0, 32, 32}));
  EXPECT_EQ(windows({{"use_sliding_window", false}}), (std::vector<int>{0, 0, 0, 0}));
  EXPECT_EQ(
      windows({{"layer_types", {"sliding_attention", "full_attention", "full_attention", "sliding_attention"}}}),
      (std::vector<int>{32, 0, 0, 32}));
  EXPECT_THROW(windows({{"layer_types", {"sliding_attention"}}, {"use_sliding_window", false}}), Error);
  EXPECT_THROW(windows({{"layer_types", {"full_attention"}}}), Error) << "too few entries";
  EXPECT_THROW(windows({{"layer_types", std::vector<std::string>(5, "full_attention")}}), Error)
      << "too many entries";
  EXPECT_EQ(windows({{"layer_types", {"attention", "sliding_attention", "attention", "full_attention"}}}),
            (std::vector<int>{0, 32, 0, 0}));
  EXPECT_EQ(windows({{"sliding_window", nullptr}}), (std::vector<int>{0, 0, 0, 0}));
}

// transformers 5.24: qwen2_moe windows every second layer below max_window_layers, qwen3_moe all of them.
TEST(ConfigRules, MixturesOfExpertsHaveWindowRulesOfTheirOwn) {
  const auto windows = [](WindowRule rule, nlohmann::json change) {
    nlohmann::json json = {{"sliding_window", 32}, {"max_window_layers", 3}, {"use_sliding_window", true}};
    json.update(change);
    return windows_of_layers(Config(json, "config.json"), 5, rule);
  };
  const nlohmann::json off = {{"use_sliding_window", false}};
  const std::vector<int> none(5, 0), all(5, 32);
  EXPECT_EQ(windows(WindowRule::even_below_max_window_layers, nlohmann::json::object()),
            (std::vector<int>{32, 0, 32, 0, 0}));
  EXPECT_EQ(windows(WindowRule::even_below_max_window_layers, off), none);
  EXPECT_THROW(windows(WindowRule::even_below_max_window_layers, {{"sliding_window", nullptr}}), Error);
  EXPECT_EQ(windows(WindowRule::all, nlohmann::json::object()), all);
  EXPECT_EQ(windows(WindowRule::all, off), none);
  EXPECT_EQ(windows(WindowRule::all, {{"layer_types", std::vector<std::string>(5, "sliding_attention")}}), all);
  EXPECT_EQ(windows(WindowRule::all, {{"layer_types", std::vector<std::string>(5, "full_attention")}}), all);
}

// Source: MoEGate of the modelling code released with DeepSeek-V2.
TEST(ConfigRules, DeepSeekV2NormalisesSeveralExpertsOrScalesThem) {
  const auto gate = [](bool normalised, int active) {
    nlohmann::json json = Config::read(testing::golden_root() / "deepseek_v2/groups/config.json").json();
    json.update({{"norm_topk_prob", normalised}, {"num_experts_per_tok", active}, {"routed_scaling_factor", 3.0}});
    const Config config(json, "config.json");
    return std::get<MoeSpec>(family_of(config).spec(config).layers.back().ffn).gate;
  };
  EXPECT_EQ(gate(true, 2).scale, 1);
  EXPECT_TRUE(gate(true, 2).normalised);
  for (const MoeGateSpec& scaled : {gate(false, 2), gate(false, 1), gate(true, 1)}) {
    EXPECT_EQ(scaled.scale, 3);
    EXPECT_FALSE(scaled.normalised);
  }
}

}  // namespace cachalot
