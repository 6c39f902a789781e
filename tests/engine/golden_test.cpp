// Logit for logit against transformers: every golden case on every instruction set that this machine runs.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/scoring.h"
#include "support/goldens.h"

namespace cachalot::testing {

// Rows of logits that a golden sequence wants, computed by us.
static std::vector<float> computed_rows(TestModel& model, const std::vector<int32_t>& tokens,
                                        const std::vector<int32_t>& rows, const ScoreOptions& options) {
  std::vector<float> logits;
  score(model.ops, model.transformer, tokens, options, [&](int row, std::span<const float> logits_W) {
    if (std::find(rows.begin(), rows.end(), row) != rows.end())
      logits.insert(logits.end(), logits_W.begin(), logits_W.end());
  });
  return logits;
}

struct Difference {
  double largest = 0;
  int wrong_argmax = 0;  // rows whose best token differs although the reference's margin exceeds twice the tolerance
};

static Difference compare(const std::vector<float>& got, const std::vector<float>& want, size_t vocab,
                          double tolerance) {
  Difference d;
  for (size_t row = 0; row < want.size(); row += vocab) {
    const auto w = want.begin() + static_cast<ptrdiff_t>(row), g = got.begin() + static_cast<ptrdiff_t>(row);
    for (size_t i = 0; i < vocab; ++i) {
      const double delta = std::abs(static_cast<double>(g[static_cast<ptrdiff_t>(i)]) - w[static_cast<ptrdiff_t>(i)]);
      d.largest = std::isnan(delta) ? INFINITY : std::max(d.largest, delta);
    }
    std::vector<float> best(w, w + static_cast<ptrdiff_t>(vocab));
    std::nth_element(best.begin(), best.begin() + 1, best.end(), std::greater<>());
    const bool clear = best[0] - best[1] > 2 * tolerance;
    const auto top = [vocab](auto begin) {
      return std::max_element(begin, begin + static_cast<ptrdiff_t>(vocab)) - begin;
    };
    if (clear && top(w) != top(g)) ++d.wrong_argmax;
  }
  return d;
}

// How many tokens of sequence `s` make up its declared length: the others come as if they had been generated.
static int declared_tokens(const SafetensorsFile& golden, int s, size_t tokens) {
  const auto found = golden.metadata().find("declared");
  return found == golden.metadata().end() ? static_cast<int>(tokens)
                                          : nlohmann::json::parse(found->second).at(s).get<int>();
}

class Golden : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(Golden, LogitsAgreeWithTransformersOnEveryIsa) {
  const auto golden = SafetensorsFile::parse(MappedFile(GetParam() / "golden.safetensors"));
  const double tolerance = std::stod(golden.metadata().at("tolerance"));
  EXPECT_LE(tolerance, 1e-4);
  const int sequences = std::stoi(golden.metadata().at("sequences"));
  bool best = true;
  for (const KernelTable* kernels : all_kernels()) {
    if (!kernels->usable()) continue;
    SCOPED_TRACE(kernels->isa);
    TestModel model(GetParam(), *kernels);
    for (int s = 0; s < sequences; ++s) {
      const auto n = "." + std::to_string(s);
      const auto tokens = values<int32_t>(golden, "tokens" + n);
      if (!best && tokens.size() > 256) continue;  // long cases on the best instruction set only
      const auto rows = values<int32_t>(golden, "rows" + n);
      const auto want = values<float>(golden, "logits" + n);
      const int declared = declared_tokens(golden, s, tokens.size());
      ScoreOptions options{.kv = DType::f32, .declared_tokens = declared};
      if (declared < static_cast<int>(tokens.size())) options.decode_from = declared;
      const auto got = computed_rows(model, tokens, rows, options);
      ASSERT_EQ(got.size(), want.size());
      const auto [largest, wrong_argmax] = compare(got, want, want.size() / rows.size(), tolerance);
      EXPECT_LE(largest, tolerance) << "sequence " << s << " of " << tokens.size() << " tokens";
      EXPECT_EQ(wrong_argmax, 0);
      if (best) RecordProperty("largest_difference" + n, std::to_string(largest));
    }
    best = false;
  }
}

TEST_P(Golden, InverseFrequenciesAreTheReferencesBitForBit) {
  const auto golden = SafetensorsFile::parse(MappedFile(GetParam() / "golden.safetensors"));
  const Config config = Config::read(GetParam() / "config.json");
  const ModelSpec spec = family_of(config).spec(config);
  const RopeSpec& rope = spec.layers[0].rope();
  EXPECT_EQ(static_cast<float>(rope.attention_factor), values<float>(golden, "attention_scaling")[0]);
  for (int s = 0; s < std::stoi(golden.metadata().at("sequences")); ++s) {
    const auto n = "." + std::to_string(s);
    const auto want = values<float>(golden, "inv_freq" + n);
    const int declared = declared_tokens(golden, s, values<int32_t>(golden, "tokens" + n).size());
    const auto got = rope.dim > 0 ? inverse_frequencies(rope, declared) : std::vector<float>();
    EXPECT_EQ(got, want) << "sequence " << s;
  }
}

static std::string case_name(const ::testing::TestParamInfo<std::filesystem::path>& info) {
  return info.param.parent_path().filename().string() + "_" + info.param.filename().string();
}
INSTANTIATE_TEST_SUITE_P(Transformers, Golden, ::testing::ValuesIn(golden_cases()), case_name);

}  // namespace cachalot::testing
