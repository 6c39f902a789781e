// Checkpoints whose tensors have other shapes or types than their config asks for: each is refused by name, with both
// shapes, before anything is loaded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/made_files.h"
#include "model/weights.h"
#include "support/goldens.h"

namespace cachalot::testing {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

static void bind(const std::filesystem::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
  keep_stored(family, checkpoint, spec);
  bind_tensors(family, spec, checkpoint, {});
}

// What binding a golden case says when its file claims another shape for a tensor, of as many numbers.
static std::string refusal(const std::string& golden, const std::string& tensor, const std::vector<int64_t>& shape) {
  const auto folder = golden_root() / golden;
  std::string file = read_text_file(folder / "model.safetensors", 64 << 20);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  json header = json::parse(file.substr(8, header_bytes));
  header.at(tensor).at("shape") = shape;
  TemporaryFolder changed;
  changed.write("config.json", read_text_file(folder / "config.json", 1 << 20));
  changed.write("model.safetensors", safetensors_file(header.dump(), file.substr(8 + header_bytes)));
  return message_of([&] { bind(changed.path()); });
}

static std::string layer(const std::string& name) { return "model.layers.1." + name; }

TEST(WrongTensors, UpProjectionsOfLatentsMustHaveTheRowsOfAllHeads) {
  const std::string name = layer("self_attn.kv_b_proj.weight");
  EXPECT_THAT(refusal("deepseek_v3/plain", name, {26, 160}),
              AllOf(HasSubstr("tensor '" + name + "' has shape [26, 160], but [160, 26] was expected"),
                    HasSubstr("because: "), HasSubstr("config.json says so"), HasSubstr("hint: ")));
  EXPECT_THAT(refusal("deepseek_v3/plain", name, {80, 52}),
              HasSubstr("has shape [80, 52], but [160, 26] was expected"));
  EXPECT_THAT(refusal("deepseek_v3/plain", name, {5, 32, 26}), HasSubstr("has shape [5, 32, 26]"));
  EXPECT_THAT(refusal("deepseek_v3/plain", name, {4160}), HasSubstr("has shape [4160]"));
  EXPECT_THAT(refusal("deepseek_v3/plain", layer("self_attn.kv_a_proj_with_mqa.weight"), {60, 36}),
              HasSubstr("but [36, 60] was expected"));
}

TEST(WrongTensors, RoutersAndTheirBiasesHaveOneEntryPerExpert) {
  EXPECT_THAT(refusal("deepseek_v3/plain", layer("mlp.gate.weight"), {60, 16}),
              HasSubstr("but [16, 60] was expected"));
  EXPECT_THAT(refusal("deepseek_v3/plain", layer("mlp.gate.e_score_correction_bias"), {1, 16}),
              HasSubstr("has shape [1, 16], but [16] was expected"));
  EXPECT_THAT(refusal("cachalot/report_deepseek", layer("mlp.gate.bias"), {2, 3}), HasSubstr("but [6] was expected"));
  EXPECT_THAT(refusal("qwen2_moe/plain", layer("mlp.shared_expert_gate.weight"), {60, 1}),
              HasSubstr("but [1, 60] was expected"));
}

TEST(WrongTensors, OneExpertOfAnotherShapeIsNamed) {
  const std::string name = layer("mlp.experts.7.up_proj.weight");
  EXPECT_THAT(refusal("deepseek_v3/plain", name, {60, 10}),
              HasSubstr("tensor '" + name + "' has shape [60, 10], but [10, 60] was expected"));
}

TEST(WrongTensors, StacksHoldAsManyExpertsAsTheConfigSays) {
  const auto folder = golden_root() / "qwen3_moe/fused";
  const Checkpoint whole = Checkpoint::open(folder);
  for (const char* part : {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}) {
    const std::vector<int64_t> right = whole.find(layer(part))->shape;
    ASSERT_EQ(right.size(), 3u);
    for (const auto& wrong : {std::vector<int64_t>{right[0] / 2, right[1] * 2, right[2]},
                              {right[0] * 2, right[1] / 2, right[2]},
                              {right[0] * right[1], right[2]},
                              {right[0], right[2], right[1]}})
      EXPECT_THAT(
          refusal("qwen3_moe/fused", layer(part), wrong),
          AllOf(HasSubstr(layer(part)), HasSubstr(fmt::format("but [{}] was expected", fmt::join(right, ", ")))));
  }
}

TEST(WrongTensors, FusedProjectionsAndTheirBiasesHaveAllThreeParts) {
  EXPECT_THAT(refusal("qwen/plain", "transformer.h.1.attn.c_attn.weight", {72, 216}),
              HasSubstr("has shape [72, 216], but [216, 72] was expected"));
  EXPECT_THAT(refusal("qwen/plain", "transformer.h.1.attn.c_attn.bias", {3, 72}),
              HasSubstr("has shape [3, 72], but [216] was expected"));
}

// Three vectors are cut out of it, and a block of a quantized type holds 32 numbers at once.
TEST(WrongTensors, AFusedBiasMustNotBeQuantized) {
  GgufMaker maker;
  maker.text("general.architecture", "qwen").u32("qwen.embedding_length", 32).u32("qwen.block_count", 1);
  maker.u32("qwen.attention.head_count", 2).u32("qwen.feed_forward_length", 48).u32("qwen.context_length", 64);
  maker.f32("qwen.attention.layer_norm_rms_epsilon", 1e-6f);
  maker.f32_tensor("token_embd.weight", {32, 10}).f32_tensor("blk.0.attn_norm.weight", {32});
  maker.f32_tensor("blk.0.attn_qkv.weight", {32, 96});
  maker.tensor("blk.0.attn_qkv.bias", {96}, /*Q8_0*/ 8, std::string(3 * 34, '\0'));
  const TemporaryFolder folder;
  const auto file = folder.write("model.gguf", maker.build());
  EXPECT_THAT(message_of([&] { bind(file); }), AllOf(HasSubstr("vector 'blk.0.attn_qkv.bias' is stored as q8_0"),
                                                     HasSubstr("because: parts of it are needed")));
}

// A config of thousands of layers with thousands of experts each, beside a file that has none of them.
TEST(WrongTensors, AHugeConfigIsRefusedAtTheFirstTensorThatIsMissing) {
  const auto folder = golden_root() / "deepseek_v3/plain";
  json config = Config::read(folder / "config.json").json();
  config.update({{"num_hidden_layers", 4096}, {"n_routed_experts", 65536}, {"n_group", 1}, {"topk_group", 1}});
  TemporaryFolder changed;
  changed.write("config.json", config.dump());
  changed.write("model.safetensors", read_text_file(folder / "model.safetensors", 64 << 20));
  EXPECT_THAT(message_of([&] { bind(changed.path()); }),
              HasSubstr("mlp.gate.weight' has shape [16, 60], but [65536, 60]"));
}

}  // namespace cachalot::testing
