// Configs of mixtures of experts, of latent attention and of the cachalot family that cannot be: each is refused by
// the name of what is wrong, before anything is allocated for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "formats/json_text.h"
#include "model/family.h"
#include "model/parameters.h"
#include "support/goldens.h"

namespace cachalot::testing {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// The config.json of a golden case with some keys changed; what reading it as a model says.
static std::string refusal(const char* golden, const json& change) {
  json config = Config::read(golden_root() / golden / "config.json").json();
  config.update(change);
  try {
    const Config changed(config, "config.json");
    family_of(changed).spec(changed);
  } catch (const Error& e) { return e.what(); }
  return "accepted";
}

static std::string v2(const json& change) { return refusal("deepseek_v2/groups", change); }
static std::string v3(const json& change) { return refusal("deepseek_v3/plain", change); }
static std::string moe(const json& change) { return refusal("qwen2_moe/plain", change); }
static std::string own(const json& change) { return refusal("cachalot/report_deepseek", change); }

TEST(ConfigLimits, TheCasesThemselvesAreAccepted) {
  for (const auto& read : {v2, v3, moe, own}) EXPECT_EQ(read(json::object()), "accepted");
}

TEST(ConfigLimits, GroupsOfExpertsMustBeEqualAndOpenOnesEnough) {
  EXPECT_THAT(v3({{"n_group", 3}}), HasSubstr("16 experts do not form 3 equal groups"));
  EXPECT_THAT(v2({{"n_group", 5}}), HasSubstr("16 experts do not form 5 equal groups"));
  EXPECT_THAT(v3({{"topk_group", 5}}), HasSubstr("5 of 4 groups of experts cannot be open"));
  EXPECT_THAT(v3({{"topk_group", 1}, {"num_experts_per_tok", 5}}),
              HasSubstr("5 experts per token cannot be chosen among 4"));
  EXPECT_THAT(v3({{"num_experts_per_tok", 17}, {"n_group", 1}, {"topk_group", 1}}),
              HasSubstr("17 experts per token cannot be chosen among 16"));
  EXPECT_THAT(moe({{"num_experts_per_tok", 11}}), HasSubstr("11 experts per token cannot be chosen among 10"));
  EXPECT_THAT(own({{"num_experts_per_tok", 7}}), HasSubstr("7 experts per token cannot be chosen among 6"));
}

TEST(ConfigLimits, CountsOfExpertsAndGroupsAreWholeAndPositive) {
  for (const char* key :
       {"n_routed_experts", "num_experts_per_tok", "n_group", "topk_group", "moe_intermediate_size"})
    for (const json& value : {json(0), json(-1), json(1.5), json(1e300), json("8"), json::array({8})})
      EXPECT_THAT(v3({{key, value}}), AllOf(StartsWith("in config.json: "), HasSubstr(key))) << value;
  EXPECT_THAT(v3({{"n_shared_experts", -1}}), HasSubstr("n_shared_experts"));
  EXPECT_THAT(v3({{"first_k_dense_replace", -1}}), HasSubstr("first_k_dense_replace"));
  EXPECT_THAT(v3({{"moe_layer_freq", 0}}), HasSubstr("moe_layer_freq"));
  EXPECT_THAT(moe({{"decoder_sparse_step", 0}}), HasSubstr("decoder_sparse_step"));
  EXPECT_THAT(moe({{"mlp_only_layers", {"0"}}}), HasSubstr("mlp_only_layers[0]"));
}

TEST(ConfigLimits, UnknownRoutersAreRefusedByNameWithTheKnownOnes) {
  EXPECT_THAT(v2({{"topk_method", "noaux_tc"}}),
              AllOf(HasSubstr("topk_method 'noaux_tc' is not supported"),
                    HasSubstr("because: known in DeepSeek-V2: greedy, group_limited_greedy")));
  EXPECT_THAT(v3({{"topk_method", "greedy"}}), AllOf(HasSubstr("topk_method 'greedy' is not supported"),
                                                     HasSubstr("because: known in DeepSeek-V3: noaux_tc")));
  EXPECT_THAT(v2({{"scoring_func", "sigmoid"}}), HasSubstr("scoring_func 'sigmoid' is not supported"));
  EXPECT_THAT(v3({{"scoring_func", "softmax"}}), HasSubstr("scoring_func 'softmax' is not supported"));
  EXPECT_THAT(v3({{"hidden_act", "gelu"}}), HasSubstr("hidden_act 'gelu' is not supported"));
}

TEST(ConfigLimits, SizesOfLatentAttentionMustFitItsCache) {
  EXPECT_THAT(v3({{"kv_lora_rank", 21}}), HasSubstr("kv_lora_rank and qk_nope_head_dim must be even"));
  EXPECT_THAT(v3({{"qk_nope_head_dim", 7}}), HasSubstr("kv_lora_rank and qk_nope_head_dim must be even"));
  EXPECT_THAT(v3({{"qk_rope_head_dim", 5}}), HasSubstr("cannot be rotated in pairs"));
  for (const char* key :
       {"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "num_attention_heads"})
    for (const json& value : {json(0), json(-2), json(1 << 30), json(1e18)})
      EXPECT_THAT(v3({{key, value}}), HasSubstr(key)) << value;
  EXPECT_THAT(v3({{"q_lora_rank", -1}}), HasSubstr("q_lora_rank"));
}

TEST(ConfigLimits, VariantsOfTheReportsMustFitTogether) {
  EXPECT_THAT(own({{"windows", {1, 2}}}), HasSubstr("windows has 2 entries for 3 layers"));
  EXPECT_THAT(own({{"windows", {1, 2, 3, 4}}}), HasSubstr("windows has 4 entries for 3 layers"));
  EXPECT_THAT(own({{"windows", {1, -2, 3}}}), HasSubstr("a window is negative"));
  EXPECT_THAT(
      own({{"windows", {1, 2, 3}}, {"window_form", "sideways"}}),
      AllOf(HasSubstr("window_form 'sideways' is not known"), HasSubstr("because: known: symmetric, causal")));
  EXPECT_THAT(own({{"kv_compression_dim", 31}}),
              HasSubstr("kv_compression_dim 31 does not give 5 heads of one size"));
  EXPECT_THAT(own({{"num_key_value_heads", 1}}), HasSubstr("and num_key_value_heads the same"));
  EXPECT_THAT(own({{"kv_compression_dim", -5}}), HasSubstr("kv_compression_dim"));
  EXPECT_THAT(own({{"logn", "log2"}}), HasSubstr("logn 'log2' is not known"));
  EXPECT_THAT(own({{"logn", "released"}}), HasSubstr("logn_length"));
  EXPECT_THAT(own({{"logn", "released"}, {"logn_length", 1}}), HasSubstr("logn_length")) << "ln 1 is 0";
  EXPECT_THAT(own({{"ffn_form", "three_layer"}}), HasSubstr("ffn_form 'three_layer' is not known"));
  EXPECT_THAT(own({{"hidden_act", "relu"}}), HasSubstr("hidden_act 'relu' is not known"));
  EXPECT_THAT(own({{"rope_pairing", "thirds"}}), HasSubstr("rope_pairing 'thirds' is not known"));
  EXPECT_THAT(own({{"rope_log_gamma", 0.1}, {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}}),
              HasSubstr("RoPE is scaled twice"));
  EXPECT_THAT(own({{"num_shared_experts", -1}}), HasSubstr("num_shared_experts"));
  EXPECT_THAT(own({{"rms_norm_eps", -1e-6}}), HasSubstr("rms_norm_eps"));
}

TEST(ConfigLimits, AHeadOfOddSizeIsFineWhereNothingIsRotated) {
  const json no_rope = {{"use_rope", false},         {"rope_theta", nullptr}, {"rope_pairing", nullptr},
                        {"rope_log_gamma", nullptr}, {"head_dim", 7},         {"kv_compression_dim", 0}};
  EXPECT_EQ(own(no_rope), "accepted");
  EXPECT_THAT(own({{"head_dim", 7}}), HasSubstr("cannot be rotated in pairs"));
}

TEST(ConfigLimits, KeysThatWouldMeanNothingAreRefused) {
  EXPECT_THAT(own({{"use_rope", false}, {"rope_theta", 1e4}}), HasSubstr("means nothing without use_rope"));
  EXPECT_THAT(own({{"hidden_act", "gelu"}, {"swish_beta", 1.5}}), HasSubstr("'swish_beta' means nothing"));
  EXPECT_THAT(own({{"logn", "log"}, {"logn_length", 64}}), HasSubstr("'logn_length' means nothing"));
  EXPECT_THAT(own({{"windows", nullptr}, {"window_form", "causal"}}), HasSubstr("'window_form' means nothing"));
  EXPECT_THAT(own({{"num_experts", 0}, {"router_bias", true}}), HasSubstr("means nothing without num_experts"));
  EXPECT_THAT(own({{"num_experts", -1}}), HasSubstr("num_experts"));
}

TEST(ConfigLimits, NumbersThatAreNoneAreRefused) {
  for (const char* text : {R"({"rope_theta": NaN})", R"({"rope_theta": Infinity})", R"({"rope_theta": 1e999})"})
    EXPECT_THROW(Config(parse_json(text, "config.json"), "config.json").number("rope_theta"), Error) << text;
  const json nan = std::nan(""), infinite = INFINITY;
  for (const json& value : {nan, infinite, json("1"), json(true)}) {
    EXPECT_THAT(v3({{"routed_scaling_factor", value}}), HasSubstr("routed_scaling_factor")) << value;
    EXPECT_THAT(v3({{"rms_norm_eps", value}}), HasSubstr("rms_norm_eps")) << value;
    EXPECT_THAT(v3({{"rope_theta", value}}), HasSubstr("rope_theta")) << value;
    EXPECT_THAT(own({{"rope_log_gamma", value}}), HasSubstr("rope_log_gamma")) << value;
    EXPECT_THAT(own({{"swish_beta", value}, {"hidden_act", "silu"}}), HasSubstr("swish_beta")) << value;
    EXPECT_THAT(v3({{"rope_scaling", {{"type", "yarn"}, {"factor", 4}, {"mscale_all_dim", value}}}}),
                HasSubstr("mscale_all_dim"))
        << value;
  }
}

// Sizes that are allowed one by one and absurd together: reading them costs nothing, and counting what they would
// take is refused before it overflows.
TEST(ConfigLimits, HugeModelsAreDescribedAndNotAllocated) {
  const json huge = {{"num_hidden_layers", 4096},
                     {"n_routed_experts", 65536},
                     {"moe_intermediate_size", 1 << 20},
                     {"hidden_size", 1 << 20},
                     {"n_group", 1},
                     {"topk_group", 1},
                     {"n_shared_experts", 1024}};
  json config = Config::read(golden_root() / "deepseek_v3/plain/config.json").json();
  config.update(huge);
  const Config changed(config, "config.json");
  const ModelSpec spec = family_of(changed).spec(changed);
  EXPECT_EQ(spec.layers.size(), 4096u);
  EXPECT_THROW(parameters_of(spec), Error);
  // One product too far: the shared experts together would be wider than a size can say.
  EXPECT_THAT(v3({{"n_shared_experts", 65536}, {"moe_intermediate_size", 1 << 30}}), HasSubstr("n_shared_experts"));
  EXPECT_THAT(refusal("cachalot/shared_experts", {{"num_shared_experts", 65536}, {"moe_intermediate_size", 1 << 30}}),
              HasSubstr("num_shared_experts"));
  for (const char* key :
       {"num_hidden_layers", "n_routed_experts", "vocab_size", "hidden_size", "num_nextn_predict_layers"})
    EXPECT_THAT(v3({{key, 1 << 30}}), HasSubstr(key));
}

}  // namespace cachalot::testing
