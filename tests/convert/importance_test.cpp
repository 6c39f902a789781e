// Calibration sees the inputs of every weight: those inside fused verbs, too, as decorators see plain ones.
#include <gtest/gtest.h>

#include "convert/importance_ops.h"
#include "engine/scoring.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

class Calibration : public ::testing::TestWithParam<const char*> {};

TEST_P(Calibration, SeesTheInputsOfEveryMatrixThatIsMultipliedWith) {
  const auto folder = golden_root() / GetParam();
  const Checkpoint checkpoint = Checkpoint::open(folder);
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
  spec.mtp.clear();
  const WeightsPolicy policy{.fixed = DType::f32};
  CpuOps cpu(best_kernels(), 1);
  ImportanceOps ops(cpu);
  const Transformer model(spec, load_weights(family, spec, checkpoint, policy, ops, [](int64_t, int64_t) {}));
  score(ops, model, Golden::read(folder).sequences[0].tokens, {.kv = DType::f32}, [](int, std::span<const float>) {});
  const Importance importance = ops.importance();

  int matrices = 0;
  for (const BoundTensor& t : bind_tensors(family, spec, checkpoint, policy)) {
    // Rows are looked up in a table; a matrix that is read the other way round has no columns of ours.
    if (t.vectors || (t.slot == "embed" && !spec.tied_head) || t.parts[0].transposed) continue;
    ++matrices;
    if (!t.routed()) {
      EXPECT_TRUE(importance.contains(t.parts[0].stored.name)) << t.slot;
      continue;
    }
    const auto used = std::count_if(t.parts.begin(), t.parts.end(),
                                    [&](const MatrixPart& p) { return importance.contains(p.stored.name); });
    EXPECT_GT(used, 1) << t.slot;  // no text uses all experts
  }
  EXPECT_GT(matrices, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, Calibration,
                         ::testing::Values("qwen3/plain", "qwen3_moe/plain", "qwen2_moe/plain", "deepseek_v2/plain",
                                           "deepseek_v3/plain"),
                         [](const auto& info) {
                           std::string name = info.param;
                           return name.replace(name.find('/'), 1, "_");
                         });

}  // namespace
}  // namespace cachalot::testing
