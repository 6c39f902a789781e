// TraceOps sees what the reference computes, point by point, and changes nothing.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "engine/scoring.h"
#include "ops/trace_ops.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

using Points = std::map<std::string, std::vector<float>>;

static std::vector<std::filesystem::path> traced_cases() {
  std::vector<std::filesystem::path> cases;
  for (const auto& folder : golden_cases())
    if (std::filesystem::exists(folder / "trace.safetensors")) cases.push_back(folder);
  return cases;
}

static std::vector<float> all_logits(Ops& ops, const Transformer& model, const std::vector<int32_t>& tokens) {
  std::vector<float> logits;
  score(ops, model, tokens, {.kv = DType::f32},
        [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

static Points points_of(TestModel& model, const std::vector<int32_t>& tokens) {
  Points points;
  TraceOps trace(model.ops, [&](std::string_view point, const Tensor&, std::span<const float> numbers) {
    auto& all = points[std::string(point)];
    all.insert(all.end(), numbers.begin(), numbers.end());
  });
  EXPECT_EQ(all_logits(trace, model.transformer, tokens), all_logits(model.ops, model.transformer, tokens))
      << "tracing must not change the result";
  return points;
}

class Trace : public ::testing::TestWithParam<std::filesystem::path> {};

// The choices of experts are equal for every token of every layer, in the same order; the other points within 1e-4
// (weights: of their scale).
TEST_P(Trace, EveryPointOfTheReferenceAgreesOnEveryIsa) {
  const auto golden = SafetensorsFile::parse(MappedFile(GetParam() / "trace.safetensors"));
  const auto tokens = values<int32_t>(golden, "tokens");
  EXPECT_EQ(tokens, Golden::read(GetParam()).sequences[0].tokens);
  for (const KernelTable* kernels : usable_kernels()) {
    SCOPED_TRACE(kernels->isa);
    TestModel model(GetParam(), *kernels);
    const Points points = points_of(model, tokens);
    for (const auto& entry : golden.tensors()) {
      if (entry.name == "tokens") continue;
      SCOPED_TRACE(entry.name);
      ASSERT_TRUE(points.contains(entry.name));
      const auto want = values<float>(golden, entry.name), &got = points.at(entry.name);
      ASSERT_EQ(got.size(), want.size());
      if (entry.name.ends_with(".moe.experts")) {
        EXPECT_EQ(got, want);
        continue;
      }
      const double tolerance = entry.name.ends_with(".moe.weights") ? 1e-5 : 1e-4;
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(got[i], want[i], tolerance * std::max(1.0f, std::abs(want[i]))) << "number " << i;
    }
  }
}

// What a trace must hold follows from the model: every layer with experts has its three points, and the plain cases
// have the residuals of every layer, too.
TEST_P(Trace, HasAllPointsThatItsModelOwes) {
  const auto golden = SafetensorsFile::parse(MappedFile(GetParam() / "trace.safetensors"));
  const Config config = Config::read(GetParam() / "config.json");
  const ModelSpec spec = family_of(config).spec(config);
  const bool plain = GetParam().filename() == "plain";
  std::set<std::string> owed = {"tokens"};
  if (plain) owed.insert({"final_norm", "logits"});
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    for (const char* point : {"input", "attn.out", "ffn.out"})
      if (plain) owed.insert(fmt::format("layer.{}.{}", i, point));
    for (const char* point : {"moe.logits", "moe.experts", "moe.weights"})
      if (std::holds_alternative<MoeSpec>(spec.layers[i].ffn)) owed.insert(fmt::format("layer.{}.{}", i, point));
  }
  std::set<std::string> stored;
  for (const auto& entry : golden.tensors()) stored.insert(entry.name);
  EXPECT_TRUE(std::includes(stored.begin(), stored.end(), owed.begin(), owed.end()));
}

INSTANTIATE_TEST_SUITE_P(Cases, Trace, ::testing::ValuesIn(traced_cases()),
                         [](const auto& info) { return case_name(info.param); });

}  // namespace cachalot::testing
