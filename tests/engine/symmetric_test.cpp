// Models whose windows show a token what comes after it read whole texts, and refuse everything else by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/scoring.h"
#include "support/goldens.h"

namespace cachalot::testing {

using ::testing::HasSubstr;

class SymmetricWindows : public ::testing::Test {
 protected:
  static std::string refusal(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& e) { return e.what(); }
    return "accepted";
  }
  std::string refusal_to_score(size_t tokens, const ScoreOptions& options) {
    return refusal([&] {
      score(model.ops, model.transformer, std::vector<int32_t>(tokens, 1), options,
            [](int, std::span<const float>) {});
    });
  }

  TestModel model{golden_root() / "cachalot/symmetric", best_kernels()};
};

TEST_F(SymmetricWindows, ScoringInChunksOrOneByOneIsRefusedWithTheReason) {
  EXPECT_FALSE(model.transformer.spec().causal());
  EXPECT_EQ(refusal_to_score(20, {}), "accepted");
  for (const ScoreOptions& options :
       {ScoreOptions{.chunk = 8}, ScoreOptions{.decode_from = 4}, ScoreOptions{.decode_from = 0}}) {
    EXPECT_THAT(refusal_to_score(20, options), HasSubstr("the text must be read whole"));
    EXPECT_THAT(refusal_to_score(20, options),
                HasSubstr("because: the model's symmetric windows see tokens that come later"));
  }
}

TEST_F(SymmetricWindows, GenerationIsRefusedWithTheReasonAndAHint) {
  Engine engine(model.ops, model.transformer, {.context = 100, .cache_tokens = 100});
  const std::string message = refusal([&] { engine.submit({.prompt = {1, 2, 3}}); });
  EXPECT_THAT(message, HasSubstr("this model generates no text"));
  EXPECT_THAT(message, HasSubstr("because: its symmetric windows let tokens see later ones"));
  EXPECT_THAT(message, HasSubstr("hint: `cachalot logits` reads whole texts with it"));
  EXPECT_TRUE(engine.idle());
}

TEST_F(SymmetricWindows, MoreTokensThanLearnedPositionsAreRefused) {
  EXPECT_EQ(refusal_to_score(160, {}), "accepted");
  EXPECT_THAT(refusal_to_score(161, {}), HasSubstr("161 tokens are given, but the model knows 160 positions"));
}

// The same model with causal windows in its place generates: what is refused are the windows, not the family.
TEST(CausalWindows, OfTheSameFamilyGenerate) {
  TestModel model(golden_root() / "cachalot/report_qwen", best_kernels());
  EXPECT_TRUE(model.transformer.spec().causal());
  Engine engine(model.ops, model.transformer, {.context = 100, .cache_tokens = 100});
  engine.submit({.prompt = {1, 2, 3}, .sampling = {.temperature = 0}, .max_tokens = 5});
  int tokens = 0;
  while (!engine.idle())
    for (const Event& event : engine.step()) tokens += event.token.has_value();
  EXPECT_EQ(tokens, 5);
}

}  // namespace cachalot::testing
