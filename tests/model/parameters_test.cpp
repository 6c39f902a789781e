// The list of a spec's parameters: what golden checkpoints hold, and the sizes of the published models.
#include "model/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "support/goldens.h"

namespace cachalot::testing {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

static ModelSpec spec_of(const Config& config) { return family_of(config).spec(config); }

static std::string printable_name(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

// -- Golden checkpoints

class ParametersOfCheckpoints : public ::testing::TestWithParam<fs::path> {};

// Checkpoints of whole models: folders, and the GGUF files that their families read (of split ones the first).
static std::vector<fs::path> checkpoints() {
  std::vector<fs::path> all = golden_cases();
  for (const auto& entry : fs::directory_iterator(golden_root() / "gguf")) {
    const std::string name = entry.path().filename();
    const bool part = name.find("-of-") != name.npos && name.find("-00001-") == name.npos;
    if (name.ends_with(".gguf") && name.find('-') != name.npos && !part) all.push_back(entry.path());
  }
  std::sort(all.begin(), all.end());
  return all;
}

TEST_P(ParametersOfCheckpoints, AreWhatTheFilesHold) {
  const Checkpoint checkpoint = Checkpoint::open(GetParam());
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
  keep_stored(family, checkpoint, spec);
  const auto listed = parameters_of(spec);
  const auto bound = bind_tensors(family, spec, checkpoint, {});
  ASSERT_EQ(listed.size(), bound.size());
  std::set<const StoredTensor*> used;
  int64_t elements = 0;
  for (size_t i = 0; i < listed.size(); ++i) {
    EXPECT_EQ(listed[i].slot, bound[i].slot);
    EXPECT_EQ(listed[i].shape(), bound[i].shape) << listed[i].slot;
    EXPECT_EQ(listed[i].elements(), bound[i].elements()) << listed[i].slot;
    used.insert(bound[i].sources.begin(), bound[i].sources.end());
  }
  for (const StoredTensor* tensor : used) elements += tensor->elements();
  const ParameterCounts counts = count_parameters(spec);
  EXPECT_EQ(counts.total + counts.mtp_total, elements);
}

TEST_P(ParametersOfCheckpoints, TakeTheBytesThatTheirTensorsTake) {
  const Checkpoint checkpoint = Checkpoint::open(GetParam());
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
  keep_stored(family, checkpoint, spec);
  const CpuOps ops(best_kernels(), 1);
  const auto listed = parameters_of(spec);
  for (const WeightsPolicy& policy : {WeightsPolicy{DType::f32}, WeightsPolicy{DType::bf16}, WeightsPolicy{},
                                      WeightsPolicy{DType::q4_0}, WeightsPolicy{DType::q6_k}}) {
    const auto bound = bind_tensors(family, spec, checkpoint, policy);
    for (size_t i = 0; i < listed.size(); ++i) {
      const DType held = listed[i].held_as(policy, bound[i].sources[0]->dtype);
      EXPECT_EQ(held, bound[i].held_as) << listed[i].slot;
      EXPECT_EQ(listed[i].held_bytes(ops, held), bound[i].held_bytes(ops)) << listed[i].slot;
    }
  }
}

TEST(HeldAs, TheHeadIsFinerThanTheOthersAndFewBitsStayAsTheyAre) {
  const Parameter head{.slot = "head", .rows = 1000, .columns = 512},
      q{.slot = "attn.q", .rows = 512, .columns = 512};
  const Parameter tied{
      .slot = "embed", .kind = Parameter::Kind::table, .rows = 1000, .columns = 512, .tied_head = true};
  const WeightsPolicy q4_0{DType::q4_0}, q8_0{DType::q8_0};
  EXPECT_EQ(head.held_as(q4_0, DType::bf16), DType::q6_k);
  EXPECT_EQ(tied.held_as(q4_0, DType::bf16), DType::q6_k);
  EXPECT_EQ(q.held_as(q4_0, DType::bf16), DType::q4_0);
  EXPECT_EQ(q.held_as(q8_0, DType::q4_k), DType::q4_k) << "more bits would not bring back what is lost";
  EXPECT_EQ(q.held_as(q4_0, DType::q2_k), DType::q4_0) << "q2_k has no kernels";
  EXPECT_EQ(head.held_as({DType::f32}, DType::q4_k), DType::f32);
}

static std::string checkpoint_name(const ::testing::TestParamInfo<fs::path>& info) {
  return printable_name(info.param.lexically_relative(golden_root()).string());
}
INSTANTIATE_TEST_SUITE_P(Goldens, ParametersOfCheckpoints, ::testing::ValuesIn(checkpoints()), checkpoint_name);

// -- Published models

static const nlohmann::json& published() {
  static const auto models = [] {
    std::ifstream file(golden_root() / "configs/expected.json");
    return nlohmann::json::parse(file)["models"];
  }();
  return models;
}

static std::vector<std::string> published_names() {
  std::vector<std::string> names;
  for (const auto& [name, facts] : published().items()) names.push_back(name);
  return names;
}

class PublishedModels : public ::testing::TestWithParam<std::string> {};

TEST_P(PublishedModels, HaveTheSizesThatTheirTensorsAddUpTo) {
  const auto& want = published()[GetParam()];
  const ModelSpec spec = spec_of(Config::read(golden_root() / "configs" / (GetParam() + ".json")));
  const ParameterCounts counts = count_parameters(spec);
  EXPECT_EQ(counts.total, want["parameters"]);
  EXPECT_EQ(counts.active, want["active_parameters"]);
  EXPECT_EQ(counts.mtp_total, want.value("mtp_parameters", int64_t{0}));
}

TEST_P(PublishedModels, CacheNothingMoreThanTheirAttentionNeeds) {
  ModelSpec spec = spec_of(Config::read(golden_root() / "configs" / (GetParam() + ".json")));
  spec.mtp.clear();
  const CpuOps ops(best_kernels(), 1);
  int64_t f32_bytes = 0, bf16_bytes = 0;
  for (const KvCache::Layer& layer : cache_layout(spec).layers) {
    f32_bytes += ops.cache_block_bytes(layer, DType::f32);
    bf16_bytes += ops.cache_block_bytes(layer, DType::bf16);
  }
  const int64_t elements = published()[GetParam()]["kv_elements_per_token"];
  EXPECT_EQ(f32_bytes, elements * kBlockTokens * 4);
  EXPECT_EQ(bf16_bytes, elements * kBlockTokens * 2);
}

static std::string model_name(const ::testing::TestParamInfo<std::string>& info) {
  return printable_name(info.param);
}
INSTANTIATE_TEST_SUITE_P(Configs, PublishedModels, ::testing::ValuesIn(published_names()), model_name);

TEST(PublishedModels, AreAllExpected) {
  for (const auto& entry : fs::directory_iterator(golden_root() / "configs"))
    EXPECT_TRUE(entry.path().filename() == "expected.json" || published().contains(entry.path().stem().string()))
        << entry.path();
}

// -- Configs that nobody can have meant

TEST(Parameters, AreRefusedBeforeTheirCountOverflows) {
  const nlohmann::json config = {{"architectures", {"Qwen3MoeForCausalLM"}},
                                 {"hidden_size", 1 << 20},
                                 {"num_hidden_layers", 4096},
                                 {"num_attention_heads", 65536},
                                 {"head_dim", 65536},
                                 {"num_experts", 65536},
                                 {"num_experts_per_tok", 8},
                                 {"moe_intermediate_size", 1 << 30},
                                 {"intermediate_size", 64},
                                 {"vocab_size", 100},
                                 {"max_position_embeddings", 128},
                                 {"rms_norm_eps", 1e-6}};
  try {
    count_parameters(spec_of(Config(config, "config.json")));
    FAIL();
  } catch (const Error& e) { EXPECT_THAT(e.what(), HasSubstr("more than")); }
}

}  // namespace cachalot::testing
