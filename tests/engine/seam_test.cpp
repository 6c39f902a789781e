// The seam holds: whole models run on an Ops whose memory the host cannot read, with the same bits; and on PlainOps,
// the textbook, with the reference's numbers.
#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"
#include "engine/scoring.h"
#include "ops/plain_ops.h"
#include "ops/trace_ops.h"
#include "support/goldens.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModels[] = {"qwen3/plain",       "qwen2/window",  "qwen3_moe/plain", "deepseek_v3/mtp",
                                   "deepseek_v2/plain", "qwen/ntk_logn", "llama/plain"};

std::vector<float> all_logits(Ops& ops, const Transformer& model, const std::vector<int32_t>& tokens, DType kv) {
  std::vector<float> logits;
  score(ops, model, tokens, {.kv = kv},
        [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

std::map<RequestId, std::vector<int32_t>> answers(Ops& ops, const Transformer& model, Speculation speculation) {
  Engine engine(ops, model, {.context = 160, .cache_tokens = 400, .kv = DType::bf16, .speculation = speculation});
  for (int r = 0; r < 3; ++r) {
    std::vector<int32_t> prompt;
    for (int i = 0; i < 20 + 50 * r; ++i) prompt.push_back((7 * i + r) % model.spec().vocab);
    engine.submit({.prompt = prompt, .sampling = {.temperature = 0.8, .seed = 5}, .max_tokens = 12});
  }
  std::map<RequestId, std::vector<int32_t>> tokens;
  while (!engine.idle())
    for (const Event& event : engine.step())
      if (event.token) tokens[event.request].push_back(*event.token);
  return tokens;
}

class Seam : public ::testing::TestWithParam<const char*> {};

TEST_P(Seam, EngineScoringAndTraceRunWhereTheHostReadsNothing) {
  const fs::path folder = golden_root() / GetParam();
  const auto tokens = Golden::read(folder).sequences[0].tokens;
  CpuOps cpu(best_kernels(), 2);
  GuardedOps guarded(best_kernels(), 2);
  const Transformer on_cpu = TestModel::load(folder, cpu, std::nullopt, true),
                    behind = TestModel::load(folder, guarded, std::nullopt, true);
  EXPECT_EQ(all_logits(guarded, behind, tokens, DType::bf16), all_logits(cpu, on_cpu, tokens, DType::bf16));
  const auto speculation = on_cpu.spec().mtp.empty() ? Speculation::lookup : Speculation::mtp;
  EXPECT_EQ(answers(guarded, behind, speculation), answers(cpu, on_cpu, speculation));

  const auto points = [&](Ops& ops, const Transformer& model) {
    std::map<std::string, std::vector<float>> points;
    TraceOps trace(ops, [&](std::string_view point, const Tensor&, std::span<const float> numbers) {
      points[std::string(point)].assign(numbers.begin(), numbers.end());
    });
    all_logits(trace, model, tokens, DType::f32);
    return points;
  };
  EXPECT_EQ(points(guarded, behind), points(cpu, on_cpu));
  EXPECT_GT(guarded.verbs(), 100);
}

INSTANTIATE_TEST_SUITE_P(Models, Seam, ::testing::ValuesIn(kModels), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

TEST(SeamDeathTest, AHostThatReadsATensorWhereItLiesDies) {
  GuardedOps ops(best_kernels(), 1);
  const Tensor x = ops.zeros(2, 8);
  EXPECT_DEATH(std::printf("%f", static_cast<double>(*x.row(1))), "");
}

class PlainModel : public ::testing::TestWithParam<fs::path> {};

TEST_P(PlainModel, ComputesTheReferencesLogits) {
  const Golden golden = Golden::read(GetParam());
  PlainOps ops;
  const Transformer model = TestModel::load(GetParam(), ops, std::nullopt, false);
  for (const GoldenSequence& q : golden.sequences) {
    if (q.length() > 300) continue;  // seconds each
    std::vector<float> logits;
    score(ops, model, q.tokens,
          {.kv = DType::f32, .decode_from = q.declared < q.length() ? q.declared : -1, .declared_tokens = q.declared},
          [&](int row, std::span<const float> logits_W) {
            if (std::binary_search(q.rows.begin(), q.rows.end(), row))
              logits.insert(logits.end(), logits_W.begin(), logits_W.end());
          });
    const Difference d = compare(logits, q.logits, q.vocab(), golden.tolerance);
    EXPECT_LE(d.largest, golden.tolerance);
    EXPECT_EQ(d.wrong_argmax, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, PlainModel, ::testing::ValuesIn(golden_cases()),
                         [](const auto& info) { return case_name(info.param); });

}  // namespace
}  // namespace cachalot::testing
