// Logit for logit against independent implementations: every golden case on every instruction set that this machine
// runs. The long ones run on the best of them only.
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

constexpr int kLong = 256;  // tokens

// The rows of logits that a golden sequence wants, computed by us as the reference did it.
static std::vector<float> computed_rows(TestModel& model, const GoldenSequence& q) {
  std::vector<float> logits;
  const ScoreOptions options{
      .kv = DType::f32, .decode_from = q.declared < q.length() ? q.declared : -1, .declared_tokens = q.declared};
  score(model.ops, model.transformer, q.tokens, options, [&](int row, std::span<const float> logits_W) {
    if (std::binary_search(q.rows.begin(), q.rows.end(), row))
      logits.insert(logits.end(), logits_W.begin(), logits_W.end());
  });
  return logits;
}

class Goldens : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(Goldens, LogitsAgreeWithTheReferenceOnEveryIsa) {
  const Golden golden = Golden::read(GetParam());
  EXPECT_LE(golden.tolerance, 1e-4);
  for (const KernelTable* kernels : usable_kernels()) {
    SCOPED_TRACE(kernels->isa);
    TestModel model(GetParam(), *kernels);
    for (const GoldenSequence& q : golden.sequences) {
      if (kernels != usable_kernels()[0] && q.length() > kLong) continue;
      const auto [largest, wrong_argmax] = compare(computed_rows(model, q), q.logits, q.vocab(), golden.tolerance);
      EXPECT_LE(largest, golden.tolerance) << q.length() << " tokens, " << q.declared << " of them declared";
      EXPECT_EQ(wrong_argmax, 0);
    }
  }
}

TEST_P(Goldens, InverseFrequenciesAreTheReferencesBitForBit) {
  const Golden golden = Golden::read(GetParam());
  const Config config = Config::read(GetParam() / "config.json");
  const ModelSpec spec = family_of(config).spec(config);
  const RopeSpec& rope = spec.layers[0].rope();
  EXPECT_EQ(static_cast<float>(rope.attention_factor), golden.attention_scaling);
  for (const GoldenSequence& q : golden.sequences) {
    const auto got = rope.dim > 0 ? inverse_frequencies(rope, q.declared) : std::vector<float>();
    EXPECT_EQ(got, q.inv_freq) << q.length() << " tokens, " << q.declared << " of them declared";
  }
}

// The kernels of FP8 take activations in f32 on every processor that does not multiply pairs of bf16; there the
// weights as they are stored give the same logits, but for MLA's up-projections, which are held as bf16 and so
// rounded: 0.021 seen.
TEST(GoldensInFp8, LogitsAgreeWithWeightsHeldAsTheyAreStored) {
  for (const auto& [name, tolerance] : {std::pair{"qwen3_moe/fp8", 1e-4}, {"deepseek_v3/fp8", 0.05}})
    for (const KernelTable* kernels : usable_kernels()) {
      if (kernels->matmul_fp8.inputs != DType::f32) continue;
      SCOPED_TRACE(fmt::format("{} {}", name, kernels->isa));
      TestModel model(golden_root() / name, *kernels, std::nullopt);
      for (const GoldenSequence& q : Golden::read(golden_root() / name).sequences)
        EXPECT_LE(compare(computed_rows(model, q), q.logits, q.vocab(), 1e-4).largest, tolerance);
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, Goldens, ::testing::ValuesIn(golden_cases()),
                         [](const auto& info) { return case_name(info.param); });

}  // namespace cachalot::testing
