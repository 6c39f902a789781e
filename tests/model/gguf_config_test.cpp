#include "model/gguf_config.h"

#include <gmock/gmock.h>

#include <cmath>

#include "formats/made_files.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufMaker model(const std::string& arch) {
  GgufMaker maker;
  maker.text("general.architecture", arch).u32(arch + ".embedding_length", 64).u32(arch + ".block_count", 3);
  maker.u32(arch + ".attention.head_count", 4).u32(arch + ".feed_forward_length", 96);
  maker.u32(arch + ".context_length", 512).f32(arch + ".attention.layer_norm_rms_epsilon", 1e-6f);
  maker.f32_tensor("token_embd.weight", {64, 10});
  return maker;
}

Config translate(const GgufMaker& maker) {
  const std::string bytes = maker.build();
  const GgufFile shards[] = {GgufFile::parse(as_bytes(bytes), "m.gguf")};
  return gguf_config(shards);
}

std::string refusal(const GgufMaker& maker) {
  return message_of([&] { translate(maker); });
}

TEST(GgufConfig, TranslatesQwen2WithItsDefaults) {
  const Config c = translate(model("qwen2"));
  EXPECT_THAT(c.texts("architectures"), ElementsAre("Qwen2ForCausalLM"));
  EXPECT_EQ(c.text("model_type"), "qwen2");
  EXPECT_EQ(c.integer("hidden_size"), 64);
  EXPECT_EQ(c.integer("num_hidden_layers"), 3);
  EXPECT_EQ(c.integer("num_attention_heads"), 4);
  EXPECT_EQ(c.integer("num_key_value_heads"), 4);
  EXPECT_EQ(c.integer("head_dim"), 16);
  EXPECT_EQ(c.integer("intermediate_size"), 96);
  EXPECT_EQ(c.integer("max_position_embeddings"), 512);
  EXPECT_EQ(c.integer("vocab_size"), 10);
  EXPECT_EQ(c.number("rope_theta"), 10000.0);
  EXPECT_TRUE(c.boolean_or("tie_word_embeddings", false));
  EXPECT_FALSE(c.has("rope_scaling"));
  EXPECT_FALSE(c.has("eos_token_id"));
  EXPECT_EQ(c.where(), "m.gguf");
}

TEST(GgufConfig, ASinglePrecisionNumberBecomesTheDecimalItWasMadeFrom) {
  GgufMaker maker = model("qwen2");
  maker.f32("qwen2.rope.freq_base", 1234567.0f);
  EXPECT_EQ(translate(maker).number("rms_norm_eps"), 1e-6);
  EXPECT_EQ(translate(maker).number("rope_theta"), 1234567.0);
  GgufMaker wide = model("qwen2");
  wide.key("qwen2.rope.freq_base", F64, raw<double>(10000.1));
  EXPECT_EQ(translate(wide).number("rope_theta"), 10000.1);
}

TEST(GgufConfig, StatedKeysOverrideTheDefaults) {
  GgufMaker maker = model("qwen3");
  maker.u32("qwen3.attention.head_count_kv", 2).u32("qwen3.attention.key_length", 128);
  maker.u32("qwen3.attention.value_length", 128).u32("qwen3.vocab_size", 8).u32("qwen3.rope.dimension_count", 128);
  maker.f32_tensor("output.weight", {64, 10}).u32("tokenizer.ggml.bos_token_id", 1);
  maker.u32("tokenizer.ggml.eos_token_id", 2)
      .u32("tokenizer.ggml.eot_token_id", 3)
      .u32("tokenizer.ggml.eom_token_id", 2);
  const Config c = translate(maker);
  EXPECT_EQ(c.text("model_type"), "qwen3");
  EXPECT_EQ(c.integer("num_key_value_heads"), 2);
  EXPECT_EQ(c.integer("head_dim"), 128);
  EXPECT_EQ(c.integer("vocab_size"), 8);
  EXPECT_FALSE(c.boolean_or("tie_word_embeddings", true));
  EXPECT_FALSE(c.boolean_or("attention_bias", true));
  EXPECT_EQ(c.integer("bos_token_id"), 1);
  EXPECT_THAT(c.integers("eos_token_id"), ElementsAre(2, 3));
}

TEST(GgufConfig, IdsWithoutATokenAreNone) {
  GgufMaker maker = model("qwen3");
  maker.array("tokenizer.ggml.tokens", STRING, std::vector<std::string>{"a", "b", "c"});
  maker.u32("tokenizer.ggml.bos_token_id", 0xFFFFFFFF).u32("tokenizer.ggml.eos_token_id", 3);
  maker.i32("tokenizer.ggml.eot_token_id", -1).u32("tokenizer.ggml.eom_token_id", 2);
  const Config c = translate(maker);
  EXPECT_FALSE(c.has("bos_token_id"));
  EXPECT_THAT(c.integers("eos_token_id"), ElementsAre(2));
}

TEST(GgufConfig, SizesStoredPerLayerMustBeEqual) {
  GgufMaker maker = model("qwen2");
  maker.keys.erase(maker.keys.begin() + 4);  // feed_forward_length
  maker.array<uint32_t>("qwen2.feed_forward_length", U32, {96, 96, 96});
  EXPECT_EQ(translate(maker).integer("intermediate_size"), 96);
  maker.keys.pop_back();
  EXPECT_THAT(refusal(maker), HasSubstr("'qwen2.feed_forward_length' is missing"));
  maker.array<uint32_t>("qwen2.feed_forward_length", U32, {96, 32, 96});
  EXPECT_THAT(refusal(maker), HasSubstr("differs between the layers"));
}

TEST(GgufConfig, TheVocabularyIsTheTokenListWhenNothingElseSaysIt) {
  GgufMaker maker = model("qwen2");
  maker.tensors.clear();
  maker.array<std::string>("tokenizer.ggml.tokens", STRING, {"a", "b", "c"});
  EXPECT_EQ(translate(maker).integer("vocab_size"), 3);
}

TEST(GgufConfig, BiasesOfLlamaAreKnownFromItsTensors) {
  GgufMaker maker = model("llama");
  EXPECT_FALSE(translate(maker).boolean_or("attention_bias", true));
  EXPECT_FALSE(translate(maker).boolean_or("mlp_bias", true));
  maker.f32_tensor("blk.0.attn_q.bias", {64}).f32_tensor("blk.0.ffn_gate.bias", {96});
  EXPECT_TRUE(translate(maker).boolean_or("attention_bias", false));
  EXPECT_TRUE(translate(maker).boolean_or("mlp_bias", false));
}

TEST(GgufConfig, LlamasStoredDivisorsAreKeptExactly) {
  GgufMaker maker = model("llama");
  const std::vector<float> divisors = {1, 1.2075f, 1.0f / 3, 3, 4, 5, 6, 8};
  maker.f32_tensor("rope_freqs.weight", {8}, divisors);
  const auto scaling = translate(maker).object("rope_scaling");
  EXPECT_EQ(scaling->text("rope_type"), "divisors");
  const auto got = scaling->numbers("divisors");
  ASSERT_EQ(got.size(), divisors.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], double{divisors[i]});
}

TEST(GgufConfig, DivisorsOfAnotherShapeOrValueAreRefused) {
  const auto with = [](std::vector<int64_t> ne, std::vector<float> values) {
    return refusal(model("llama").f32_tensor("rope_freqs.weight", std::move(ne), std::move(values)));
  };
  EXPECT_THAT(with({7}, {}), HasSubstr("8 numbers of type f32 are expected"));
  EXPECT_THAT(with({8}, {1, 1, 1, 1, 1, 1, 1, 0}), HasSubstr("holds 0, which is no divisor"));
  EXPECT_THAT(with({8}, {1, 1, NAN, 1, 1, 1, 1, 1}), HasSubstr("no divisor"));
  EXPECT_THAT(with({8}, {1, 1, INFINITY, 1, 1, 1, 1, 1}), HasSubstr("no divisor"));
  GgufMaker twice = model("llama");
  twice.f32_tensor("rope_freqs.weight", {8}, std::vector<float>(8, 1));
  twice.text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 2);
  EXPECT_THAT(refusal(twice), HasSubstr("scaled twice"));
}

TEST(GgufConfig, LinearScalingHasItsFactor) {
  GgufMaker maker = model("qwen2");
  maker.text("qwen2.rope.scaling.type", "linear").f32("qwen2.rope.scaling.factor", 2.5f);
  EXPECT_EQ(translate(maker).object("rope_scaling")->text("rope_type"), "linear");
  EXPECT_EQ(translate(maker).object("rope_scaling")->number("factor"), 2.5);
  GgufMaker old = model("llama");
  EXPECT_EQ(translate(old.f32("llama.rope.scale_linear", 4)).object("rope_scaling")->number("factor"), 4.0);
  GgufMaker none = model("qwen2");
  none.text("qwen2.rope.scaling.type", "none").f32("qwen2.rope.scaling.factor", 2);
  EXPECT_FALSE(translate(none).has("rope_scaling"));
}

TEST(GgufConfig, YarnCarriesAllItsNumbers) {
  GgufMaker maker = model("qwen3");
  maker.text("qwen3.rope.scaling.type", "yarn").f32("qwen3.rope.scaling.factor", 4);
  maker.u32("qwen3.rope.scaling.original_context_length", 128);
  auto scaling = translate(maker).object("rope_scaling");
  EXPECT_EQ(scaling->text("rope_type"), "yarn");
  EXPECT_EQ(scaling->number("factor"), 4.0);
  EXPECT_EQ(scaling->integer("original_max_position_embeddings"), 128);
  EXPECT_FALSE(scaling->has("attention_factor")) << "then the reference's default holds";
  maker.f32("qwen3.rope.scaling.yarn_beta_fast", 24).f32("qwen3.rope.scaling.yarn_beta_slow", 2);
  maker.f32("qwen3.rope.scaling.attn_factor", 0.5f).f32("qwen3.rope.scaling.yarn_ext_factor", 1);
  scaling = translate(maker).object("rope_scaling");
  EXPECT_EQ(scaling->number("beta_fast"), 24.0);
  EXPECT_EQ(scaling->number("beta_slow"), 2.0);
  EXPECT_DOUBLE_EQ(scaling->number("attention_factor"), 0.5 * (0.1 * std::log(4.0) + 1));
  maker.f32("qwen3.rope.scaling.yarn_log_multiplier", 0.1f);
  scaling = translate(maker).object("rope_scaling");
  EXPECT_EQ(scaling->number("mscale"), 1.0);
  EXPECT_EQ(scaling->number("mscale_all_dim"), 0.1);
  GgufMaker partly = model("qwen3");
  partly.text("qwen3.rope.scaling.type", "yarn").f32("qwen3.rope.scaling.yarn_ext_factor", 0.5f);
  EXPECT_THAT(refusal(partly), HasSubstr("yarn_ext_factor"));
}

TEST(GgufConfig, AScalingOfAnotherNameIsLeftForTheFamilyToRefuse) {
  GgufMaker maker = model("llama");
  maker.text("llama.rope.scaling.type", "longrope");
  EXPECT_EQ(translate(maker).object("rope_scaling")->text("rope_type"), "longrope");
}

TEST(GgufConfig, AWindowNeedsAListOfLayersToCount) {
  GgufMaker maker = model("qwen2");
  maker.u32("qwen2.attention.sliding_window", 32);
  EXPECT_EQ(translate(maker).integer("sliding_window"), 32);
  EXPECT_FALSE(translate(maker).boolean_or("use_sliding_window", true));
  maker.array<uint8_t>("qwen2.attention.sliding_window_pattern", BOOL, {1, 0, 1});
  EXPECT_TRUE(translate(maker).boolean_or("use_sliding_window", false));
  EXPECT_THAT(translate(maker).texts("layer_types"),
              ElementsAre("sliding_attention", "full_attention", "sliding_attention"));
  maker.keys.pop_back();
  maker.array<uint8_t>("qwen2.attention.sliding_window_pattern", BOOL, {1, 0});
  EXPECT_THAT(refusal(maker), HasSubstr("2 entries for 3 layers"));
  GgufMaker none = model("qwen2");
  EXPECT_FALSE(translate(none.u32("qwen2.attention.sliding_window", 0)).has("sliding_window"));
}

TEST(GgufConfig, WhatNoTranslatedArchitectureHasIsRefused) {
  EXPECT_THAT(refusal(model("llama").f32("llama.attn_logit_softcapping", 50)), HasSubstr("attn_logit_softcapping"));
  EXPECT_THAT(refusal(model("llama").flag("llama.attention.causal", false)), HasSubstr("attends to later tokens"));
  EXPECT_THAT(refusal(model("qwen2").u32("qwen2.rope.dimension_count", 8)), HasSubstr("only 8 of 16 components"));
  EXPECT_THAT(refusal(model("qwen2").u32("qwen2.attention.key_length", 16).u32("qwen2.attention.value_length", 8)),
              HasSubstr("keys have 16 components and values 8"));
  EXPECT_THAT(refusal(model("qwen2").u32("qwen2.nextn_predict_layers", 3)), HasSubstr("3 of 3 blocks"));
}

TEST(GgufConfig, MixtralIsNotTakenForLlama) {
  EXPECT_EQ(translate(model("llama").u32("llama.expert_count", 8)).text("model_type"), "mixtral");
}

TEST(GgufConfig, AnUnknownArchitectureGivesItsNameAndCommonSizes) {
  GgufMaker maker = model("gemma3");
  maker.array<uint32_t>("gemma3.attention.head_count_kv", U32, {1, 2, 4});
  const Config c = translate(maker);
  EXPECT_THAT(c.texts("architectures"), ElementsAre("gemma3"));
  EXPECT_EQ(c.integer("hidden_size"), 64);
  EXPECT_FALSE(c.has("num_key_value_heads")) << "it differs between the layers";
  EXPECT_THAT(translate(GgufMaker().text("general.architecture", "\xff\x1b")).texts("architectures"),
              ElementsAre("\\xff\\x1b"));
  EXPECT_THAT(refusal(GgufMaker()), HasSubstr("'general.architecture' is missing"));
}

TEST(GgufConfig, Qwen1HasItsOwnWords) {
  GgufMaker maker = model("qwen");
  maker.keys.pop_back();
  maker.f32("qwen.attention.layer_norm_epsilon", 1e-5f).f32("qwen.rope.freq_base", 1e6f);
  const Config c = translate(maker);
  EXPECT_THAT(c.texts("architectures"), ElementsAre("QWenLMHeadModel"));
  EXPECT_EQ(c.number("layer_norm_epsilon"), 1e-5);
  EXPECT_EQ(c.number("rotary_emb_base"), 1e6);
  EXPECT_EQ(c.integer("kv_channels"), 16);
  EXPECT_EQ(c.integer("seq_length"), 512);
  EXPECT_EQ(c.integer("intermediate_size"), 96) << "the doubled width, as in its config.json";
}

TEST(GgufConfig, ExpertWidthsOfQwenMoeMayComeFromTheTensors) {
  GgufMaker maker = model("qwen2moe");
  maker.u32("qwen2moe.expert_count", 4).u32("qwen2moe.expert_used_count", 2);
  EXPECT_THAT(refusal(maker), HasSubstr("how wide the experts are"));
  maker.f32_tensor("blk.0.ffn_gate_exps.weight", {64, 24, 4}).f32_tensor("blk.0.ffn_gate_shexp.weight", {64, 40});
  const Config c = translate(maker);
  EXPECT_EQ(c.text("model_type"), "qwen2_moe");
  EXPECT_EQ(c.integer("num_experts"), 4);
  EXPECT_EQ(c.integer("num_experts_per_tok"), 2);
  EXPECT_EQ(c.integer("moe_intermediate_size"), 24);
  EXPECT_EQ(c.integer("shared_expert_intermediate_size"), 40);
  EXPECT_FALSE(c.boolean_or("norm_topk_prob", true));
  GgufMaker qwen3 = model("qwen3moe");
  qwen3.u32("qwen3moe.expert_count", 4).u32("qwen3moe.expert_used_count", 2);
  qwen3.u32("qwen3moe.expert_feed_forward_length", 16);
  EXPECT_TRUE(translate(qwen3).boolean_or("norm_topk_prob", false));
  EXPECT_EQ(translate(qwen3).integer("moe_intermediate_size"), 16);
}

GgufMaker deepseek() {
  GgufMaker maker = model("deepseek2");
  maker.u32("deepseek2.rope.dimension_count", 8).u32("deepseek2.attention.kv_lora_rank", 32);
  maker.u32("deepseek2.expert_count", 256)
      .u32("deepseek2.expert_used_count", 8)
      .u32("deepseek2.expert_shared_count", 1);
  maker.u32("deepseek2.expert_feed_forward_length", 24).u32("deepseek2.leading_dense_block_count", 1);
  return maker;
}

TEST(GgufConfig, DeepSeekV3IsKnownByItsSigmoidRouter) {
  GgufMaker maker = deepseek();
  maker.u32("deepseek2.attention.key_length", 40).u32("deepseek2.attention.value_length", 32);
  maker.u32("deepseek2.attention.key_length_mla", 24).u32("deepseek2.attention.value_length_mla", 16);
  maker.u32("deepseek2.attention.q_lora_rank", 48).u32("deepseek2.expert_gating_func", 2);
  maker.f32("deepseek2.expert_weights_scale", 2.5f).flag("deepseek2.expert_weights_norm", true);
  maker.text("deepseek2.rope.scaling.type", "yarn").f32("deepseek2.rope.scaling.factor", 40);
  maker.f32("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f).u32("deepseek2.nextn_predict_layers", 1);
  const Config c = translate(maker);
  EXPECT_THAT(c.texts("architectures"), ElementsAre("DeepseekV3ForCausalLM"));
  EXPECT_EQ(c.integer("num_hidden_layers"), 2);
  EXPECT_EQ(c.integer("num_nextn_predict_layers"), 1);
  EXPECT_EQ(c.integer("qk_nope_head_dim"), 16);
  EXPECT_EQ(c.integer("qk_rope_head_dim"), 8);
  EXPECT_EQ(c.integer("v_head_dim"), 16);
  EXPECT_EQ(c.integer("q_lora_rank"), 48);
  EXPECT_EQ(c.integer("kv_lora_rank"), 32);
  EXPECT_EQ(c.integer("n_group"), 8);
  EXPECT_EQ(c.integer("topk_group"), 4);
  EXPECT_EQ(c.text("topk_method"), "noaux_tc");
  EXPECT_EQ(c.text("scoring_func"), "sigmoid");
  EXPECT_EQ(c.number("routed_scaling_factor"), 2.5);
  EXPECT_TRUE(c.boolean_or("norm_topk_prob", false));
  EXPECT_EQ(c.integer("first_k_dense_replace"), 1);
  EXPECT_EQ(c.object("rope_scaling")->number("mscale_all_dim"), 1.0);
  EXPECT_EQ(c.object("rope_scaling")->number("mscale"), 1.0);
}

TEST(GgufConfig, GroupsOfExpertsThatAFileDoesNotStateAreAssumedWithAWarning) {
  const auto warning_of = [](const GgufMaker& maker) {
    ::testing::internal::CaptureStderr();
    translate(maker);
    return ::testing::internal::GetCapturedStderr();
  };
  GgufMaker maker = deepseek();
  maker.u32("deepseek2.attention.key_length", 24).u32("deepseek2.attention.value_length", 16);
  EXPECT_THAT(warning_of(maker), HasSubstr("assumed: the best 4 of 8, as published with 256 experts"));
  maker.u32("deepseek2.expert_group_count", 8).u32("deepseek2.expert_group_used_count", 2);
  EXPECT_EQ(warning_of(maker), "");
  EXPECT_EQ(translate(maker).integer("topk_group"), 2);
}

TEST(GgufConfig, DeepSeekV2FilesOfTheOldLayoutHaveNoQueryRankAndSoftmaxScores) {
  GgufMaker maker = deepseek();
  maker.keys[9] = GgufMaker().u32("deepseek2.expert_count", 64).keys[0];
  maker.u32("deepseek2.attention.key_length", 24).u32("deepseek2.attention.value_length", 16);
  maker.text("deepseek2.rope.scaling.type", "yarn").f32("deepseek2.rope.scaling.factor", 40);
  const Config c = translate(maker);
  EXPECT_EQ(c.text("model_type"), "deepseek_v2");
  EXPECT_FALSE(c.has("q_lora_rank"));
  EXPECT_EQ(c.integer("n_routed_experts"), 64);
  EXPECT_EQ(c.integer("n_group"), 1);
  EXPECT_EQ(c.text("topk_method"), "greedy");
  EXPECT_EQ(c.text("scoring_func"), "softmax");
  EXPECT_EQ(c.number("routed_scaling_factor"), 1.0);
  EXPECT_EQ(c.object("rope_scaling")->number("attention_factor"), 1.0);
  EXPECT_THAT(refusal(deepseek().u32("deepseek2.attention.key_length", 8).u32("deepseek2.attention.value_length", 8)),
              HasSubstr("8 of 8 components of a key are rotated"));
}

}  // namespace
}  // namespace cachalot
