// Drafting goes on while it pays, by a clock that is made up, and costs little where it does not.
#include "engine/draft_rule.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace cachalot {
namespace {

// A machine that reads the weights in `base` seconds and computes a row in `per_row`.
struct Machine {
  double base = 0.06, per_row = 1 / 300.0;
  int drafts = 1;            // guessed for every sequence ...
  double right = 0.8;        // ... each, after those before it, with this probability
  double noise = 0;          // steps take up to so much longer, by chance
  double cost_of_guess = 0;  // a sequence's, in the step before
};

struct Course {
  double seconds = 0;
  int64_t tokens = 0;
  int steps = 0, with_drafts = 0;
  double seconds_per_token() const { return seconds / static_cast<double>(tokens); }
};

template <typename Decide>
Course run(const Machine& m, int sequences, int steps, Random& random, DraftRule* rule, const Decide& decide) {
  Course run;
  bool drafting = true;
  for (int i = 0; i < steps; ++i) {
    int tokens = sequences;
    for (int s = 0; drafting && s < sequences; ++s)
      for (int d = 0; d < m.drafts && random.uniform() < m.right; ++d) ++tokens;
    const bool next = decide(sequences);
    const int rows = sequences * (1 + (drafting ? m.drafts : 0));
    const double seconds =
        (m.base + m.per_row * rows + (next ? m.cost_of_guess * sequences : 0)) * (1 + m.noise * random.uniform());
    if (rule && next == drafting) rule->took(sequences, drafting, tokens, seconds);
    run.seconds += seconds;
    run.tokens += tokens;
    run.with_drafts += drafting;
    ++run.steps;
    drafting = next;
  }
  return run;
}

Course by_rule(const Machine& m, int sequences, int steps, DraftRule& rule, uint64_t seed = 1) {
  Random random(seed);
  return run(m, sequences, steps, random, &rule, [&](int n) { return rule.drafts(n); });
}
Course always(const Machine& m, int sequences, bool drafting) {
  Random random(1);
  return run(m, sequences, 4000, random, nullptr, [&](int) { return drafting; });
}

}  // namespace

TEST(DraftRule, TakesLittleMoreTimeThanTheBetterOfBothWays) {
  int better_with = 0, better_without = 0;
  for (const int sequences : {1, 2, 5, 16, 40})
    for (const double right : {0.0, 0.1, 0.5, 0.9})
      for (const double per_row : {1 / 3000.0, 1 / 300.0, 1 / 30.0})
        for (const double noise : {0.0, 0.5}) {
          const Machine m{.per_row = per_row, .drafts = 2, .right = right, .noise = noise, .cost_of_guess = 0.001};
          DraftRule rule;
          const Course got = by_rule(m, sequences, 4000, rule);
          const double with = always(m, sequences, true).seconds_per_token(),
                       without = always(m, sequences, false).seconds_per_token();
          ++(with < without ? better_with : better_without);
          EXPECT_LE(got.seconds_per_token(), 1.06 * std::min(with, without))
              << sequences << " sequences, " << right << " right, " << per_row << " s a row, noise " << noise << ": "
              << with << " with, " << without << " without";
          if (with < 0.8 * without) { EXPECT_GE(got.with_drafts, 9 * got.steps / 10); }
          if (without < 0.8 * with) { EXPECT_LE(got.with_drafts, got.steps / 10); }
        }
  EXPECT_GT(better_with, 20);
  EXPECT_GT(better_without, 20);
}

TEST(DraftRule, FollowsTheTextWhoseGuessesBecomeRightOrWrong) {
  DraftRule rule;
  const Machine good{.drafts = 3, .right = 0.9, .cost_of_guess = 0.01},
      bad{.drafts = 3, .right = 0.0, .cost_of_guess = 0.01};
  by_rule(good, 1, 500, rule);
  by_rule(bad, 1, 200, rule);
  EXPECT_LE(by_rule(bad, 1, 500, rule).with_drafts, 50);
  by_rule(good, 1, 1500, rule);
  EXPECT_GE(by_rule(good, 1, 500, rule).with_drafts, 400);
}

TEST(DraftRule, KnowsFewSequencesFromMany) {
  DraftRule rule;
  const Machine m{.per_row = 1 / 30.0, .drafts = 1, .right = 0.65};
  for (int i = 0; i < 10; ++i) {
    by_rule(m, 1, 100, rule);
    by_rule(m, 32, 100, rule);
  }
  EXPECT_GE(by_rule(m, 1, 400, rule).with_drafts, 300);
  EXPECT_LE(by_rule(m, 32, 400, rule).with_drafts, 100);
}

TEST(DraftPause, WaitsTheLongerTheMoreDraftsInARowWereRefused) {
  DraftPause pause;
  const auto waited = [&] {
    int steps = 0;
    while (!pause.over()) ++steps;
    return steps;
  };
  EXPECT_EQ(waited(), 0);
  for (const int want : {0, 1, 3, 7, 15, 31, 63, 63}) {
    pause.verified(0);
    EXPECT_EQ(waited(), want);
  }
  pause.verified(1);
  EXPECT_EQ(waited(), 0);
  pause.verified(0);
  EXPECT_EQ(waited(), 0);
}

}  // namespace cachalot
