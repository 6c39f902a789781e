// Multi-head latent attention in its two forms: absorbed and expanded are the same mathematics, and any boundary
// between them.
#include <gmock/gmock.h>

#include "engine/scoring.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

static std::vector<std::filesystem::path> mla_cases() {
  std::vector<std::filesystem::path> cases;
  for (const auto& folder : golden_cases())
    if (Config::read(folder / "config.json").has("kv_lora_rank")) cases.push_back(folder);
  return cases;
}

using Spans = std::vector<PositionSpan>;

// The golden's rows with the first `expanded` positions in the expanded form.
static std::vector<float> rows_with(TestModel& model, const GoldenSequence& q, int expanded) {
  std::vector<float> logits;
  score(model.ops, model.transformer, q.tokens, {.kv = DType::f32, .expanded = Spans{{0, expanded}}},
        [&](int row, std::span<const float> logits_W) {
          if (std::binary_search(q.rows.begin(), q.rows.end(), row))
            logits.insert(logits.end(), logits_W.begin(), logits_W.end());
        });
  return logits;
}

class LatentForms : public ::testing::TestWithParam<std::filesystem::path> {};

// Largest difference between two forms seen over all cases and instruction sets: 1.3e-5 up to 160 tokens, 1.5e-5 at
// 4,300.
TEST_P(LatentForms, AbsorbedExpandedAndEveryMixtureGiveTheSameLogits) {
  const Golden golden = Golden::read(GetParam());
  for (const KernelTable* kernels : usable_kernels()) {
    TestModel model(GetParam(), *kernels);
    for (const GoldenSequence& q : golden.sequences) {
      const bool is_long = q.length() > 256;
      if (is_long && kernels != usable_kernels()[0]) continue;
      const auto absorbed = rows_with(model, q, 0);
      EXPECT_LE(compare(absorbed, q.logits, q.vocab(), 1e-4).largest, golden.tolerance);
      const std::vector<int> boundaries =
          is_long ? std::vector<int>{q.length(), 4000} : std::vector<int>{q.length(), 63, 64, 65, 130};
      for (const int expanded : boundaries) {
        SCOPED_TRACE(fmt::format("{}, {} of {} tokens expanded", kernels->isa, expanded, q.length()));
        const auto logits = rows_with(model, q, expanded);
        EXPECT_LE(compare(logits, absorbed, q.vocab(), 1e-4).largest, 1e-4);
        EXPECT_LE(compare(logits, q.logits, q.vocab(), 1e-4).largest, golden.tolerance);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LatentForms, ::testing::ValuesIn(mla_cases()),
                         [](const auto& info) { return case_name(info.param); });

TEST(LatentForms, WhichOneServesFollowsFromTheDeclaredLengthAlone) {
  // With 128 declared tokens the first 128 positions are expanded and what follows is absorbed, also when `score`
  // decides by itself.
  const auto folder = golden_root() / "deepseek_v2/plain";
  const GoldenSequence q = Golden::read(folder).sequences.back();
  ASSERT_EQ(q.length(), 160);
  TestModel model(folder, best_kernels());
  const auto last_row = [&](const ScoreOptions& options) {
    std::vector<float> logits;
    score(model.ops, model.transformer, q.tokens, options,
          [&](int, std::span<const float> row) { logits.assign(row.begin(), row.end()); });
    return logits;
  };
  EXPECT_EQ(last_row({.kv = DType::f32, .declared_tokens = 128}),
            last_row({.kv = DType::f32, .expanded = Spans{{0, 128}}}));
  EXPECT_EQ(last_row({.kv = DType::f32, .declared_tokens = 127}), last_row({.kv = DType::f32, .expanded = Spans{}}));
  EXPECT_EQ(last_row({.kv = DType::f32}), last_row({.kv = DType::f32, .expanded = Spans{{0, 160}}}));
}

// A conversation goes on: what was generated after the first prompt, one by one, are the same bits when the whole is
// read as a prompt that says which positions an answer was.
TEST(LatentForms, AnEarlierAnswerIsReadAsItWasGenerated) {
  const auto folder = golden_root() / "deepseek_v2/plain";
  const std::vector<int32_t> tokens = Golden::read(folder).sequences.back().tokens;
  const int prompt = 130, answer = 18, all = 160;
  ASSERT_EQ(std::ssize(tokens), all);
  for (const KernelTable* kernels : usable_kernels())
    for (const DType kv : {DType::f32, DType::bf16, DType::q8_0}) {
      TestModel model(folder, *kernels);
      const auto rows = [&](int count, const ScoreOptions& options) {
        std::vector<std::vector<float>> rows;
        score(model.ops, model.transformer, std::span(tokens).first(static_cast<size_t>(count)), options,
              [&](int, std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); });
        return rows;
      };
      const auto generated = rows(prompt + answer, {.kv = kv, .decode_from = prompt, .declared_tokens = prompt});
      const Spans answers = {{prompt, prompt + answer}}, again = expanded_spans(all, answers);
      for (const int chunk : {1, 50, all}) {
        const auto read = rows(all, {.kv = kv, .chunk = chunk, .expanded = again});
        for (int r = 0; r < prompt + answer; ++r)
          EXPECT_EQ(read[static_cast<size_t>(r)], generated[static_cast<size_t>(r)]) << "row " << r;
      }
      const auto unmarked = rows(all, {.kv = kv});
      EXPECT_NE(unmarked[prompt], generated[prompt]) << "the forms have the same bits: the test tests nothing";
    }
}

// A turn's rows keep their form in the prompts of all later turns.
TEST(LatentForms, OfAPromptFollowFromItsStretchesBetweenAnswers) {
  const auto spans = [](int tokens, const Spans& answers) {
    std::vector<std::pair<int, int>> expanded;
    for (const PositionSpan& span : expanded_spans(tokens, answers)) expanded.emplace_back(span.begin, span.end);
    return expanded;
  };
  using Pairs = std::vector<std::pair<int, int>>;
  EXPECT_EQ(spans(127, {}), Pairs());
  EXPECT_EQ(spans(128, {}), (Pairs{{0, 128}}));
  EXPECT_EQ(spans(4300, {}), (Pairs{{0, 4300}}));
  EXPECT_EQ(spans(400, {{40, 290}}), Pairs()) << "two short turns around a long answer";
  EXPECT_EQ(spans(500, {{130, 300}}), (Pairs{{0, 130}, {300, 500}}));
  EXPECT_EQ(spans(600, {{130, 300}, {310, 400}, {528, 580}}), (Pairs{{0, 130}, {400, 528}}));
  EXPECT_EQ(spans(300, {{0, 10}, {10, 300}}), Pairs());
}

}  // namespace cachalot::testing
