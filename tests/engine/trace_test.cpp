// TraceOps sees what the reference computes, point by point, and changes nothing.
#include <gtest/gtest.h>

#include <map>

#include "engine/scoring.h"
#include "ops/trace_ops.h"
#include "support/goldens.h"

namespace cachalot::testing {

class Trace : public ::testing::TestWithParam<const char*> {};

TEST_P(Trace, EveryPointAgreesWithTransformers) {
  const auto folder = golden_root() / GetParam();
  const auto golden = SafetensorsFile::parse(MappedFile(folder / "trace.safetensors"));
  const auto tokens = values<int32_t>(golden, "tokens");
  TestModel model(folder, best_kernels());
  std::map<std::string, std::vector<float>> points;
  TraceOps trace(model.ops, [&](std::string_view point, const Tensor& t) {
    auto& numbers = points[std::string(point)];
    for (int64_t r = 0; r < t.rows(); ++r) numbers.insert(numbers.end(), t.row(r), t.row(r) + t.last());
  });
  std::vector<float> traced, plain;
  score(trace, model.transformer, tokens, {.kv = DType::f32},
        [&](int, std::span<const float> row) { traced.insert(traced.end(), row.begin(), row.end()); });
  score(model.ops, model.transformer, tokens, {.kv = DType::f32},
        [&](int, std::span<const float> row) { plain.insert(plain.end(), row.begin(), row.end()); });
  EXPECT_EQ(traced, plain) << "tracing must not change the result";

  int compared = 0;
  for (const auto& entry : golden.tensors()) {
    if (entry.name == "tokens") continue;
    ASSERT_TRUE(points.contains(entry.name)) << entry.name;
    const auto want = values<float>(golden, entry.name);
    const auto& got = points.at(entry.name);
    ASSERT_EQ(got.size(), want.size()) << entry.name;
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4) << entry.name << " [" << i << "]";
    ++compared;
  }
  EXPECT_GT(compared, 5);
}

INSTANTIATE_TEST_SUITE_P(Plain, Trace, ::testing::Values("qwen2/plain", "qwen3/plain", "llama/plain"),
                         [](const auto& info) { return std::string(info.param).substr(0, 5); });

}  // namespace cachalot::testing
