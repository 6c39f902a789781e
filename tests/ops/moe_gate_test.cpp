// choose_experts against its definition, written a second time in f64 and by sorting.
#include "ops/moe_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/random.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

struct Choice {
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

Choice chosen(const MoeGateSpec& spec, const std::vector<float>& logits, const std::vector<float>& correction = {}) {
  Choice c{std::vector<int32_t>(static_cast<size_t>(spec.active)),
           std::vector<float>(static_cast<size_t>(spec.active))};
  choose_experts(spec, logits, correction, c.experts, c.weights);
  return c;
}

// Indices of the `count` largest values, best first, the lower index first among equals. `margin` becomes the least
// distance between a value and the next different one: below f32's rounding, the order is not certain.
std::vector<int> largest(const std::vector<double>& values, int count, double& margin) {
  std::vector<int> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return values[a] > values[b]; });
  for (size_t i = 1; i < order.size(); ++i)
    if (const double gap = values[order[i - 1]] - values[order[i]]; gap > 0) margin = std::min(margin, gap);
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<double> scores_of(GateScore form, const std::vector<float>& logits) {
  std::vector<double> scores;
  double sum = 0;
  for (const double z : logits) sum += std::exp(z);
  for (const double z : logits)
    scores.push_back(form == GateScore::softmax ? std::exp(z) / sum : 1 / (1 + std::exp(-z)));
  return scores;
}

// The definition. nullopt where f32 may rightly choose otherwise.
std::optional<Choice> defined(const MoeGateSpec& spec, const std::vector<float>& logits,
                              const std::vector<float>& correction) {
  const std::vector<double> scores = scores_of(spec.score, logits);
  std::vector<double> selection = scores;
  for (size_t e = 0; e < correction.size(); ++e) selection[e] += correction[e];

  double margin = INFINITY;
  const int size = spec.experts / spec.groups;
  std::vector<double> group_scores;
  for (int g = 0; g < spec.groups; ++g) {
    std::vector<double> members(selection.begin() + g * size, selection.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    const bool two = spec.group_score == GroupScore::sum_of_best_two && size > 1;
    group_scores.push_back(members[0] + (two ? members[1] : 0));
  }
  std::set<int> open;
  for (const int g : largest(group_scores, spec.active_groups, margin)) open.insert(g);
  std::vector<double> allowed;
  std::vector<int> ids;
  for (int e = 0; e < spec.experts; ++e)
    if (open.contains(e / size)) allowed.push_back(selection[e]), ids.push_back(e);

  Choice c;
  double sum = 0;
  for (const int i : largest(allowed, spec.active, margin)) {
    c.experts.push_back(static_cast<float>(ids[i]));
    sum += scores[ids[i]];
  }
  for (const float e : c.experts)
    c.weights.push_back(static_cast<float>(scores[static_cast<int>(e)] / (spec.normalised ? sum : 1) * spec.scale));
  if (margin < 1e-6) return std::nullopt;
  return c;
}

MoeGateSpec random_spec(Random& random) {
  const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
  MoeGateSpec spec;
  spec.groups = std::array{1, 1, 2, 4, 8}[below(5)];
  const int size = 1 + below(12);
  spec.experts = spec.groups * size;
  spec.active_groups = 1 + below(spec.groups);
  spec.active = 1 + below(std::min(9, size * spec.active_groups));
  spec.score = below(2) ? GateScore::softmax : GateScore::sigmoid;
  spec.group_score = below(2) ? GroupScore::best : GroupScore::sum_of_best_two;
  spec.normalised = below(2);
  spec.scale = std::array{1.0, 2.5, 16.0}[below(3)];
  return spec;
}

// Logits and corrections lie on a grid, so that many are equal and ties have to be decided; the others are far apart.
TEST(MoeGate, ChoosesAsTheDefinitionDoesWhateverTheSpec) {
  Random random(1);
  const auto on_grid = [&](int n, double step, double offset, int steps) {
    std::vector<float> values;
    for (int i = 0; i < n; ++i)
      values.push_back(
          static_cast<float>(offset + step * static_cast<int>(random.next() % (2 * steps + 1)) - step * steps));
    return values;
  };
  int compared = 0, tied = 0, negative = 0;
  for (int i = 0; i < 20000; ++i) {
    const MoeGateSpec spec = random_spec(random);
    const auto logits = on_grid(spec.experts, 0.37, 0.1, 8);
    const auto correction = random.next() % 2 ? on_grid(spec.experts, 0.11, -0.07, 12) : std::vector<float>();
    const auto want = defined(spec, logits, correction);
    if (!want) continue;
    const Choice got = chosen(spec, logits, correction);
    ASSERT_EQ(got.experts, want->experts) << "case " << i << ": " << spec.experts << " experts in " << spec.groups;
    for (size_t a = 0; a < got.weights.size(); ++a)
      ASSERT_NEAR(got.weights[a], want->weights[a], 2e-6 * std::max(1.0f, want->weights[a])) << "case " << i;
    ++compared;
    tied += std::set<float>(logits.begin(), logits.end()).size() < logits.size() && correction.empty();
    for (size_t e = 0; e < correction.size(); ++e)
      if (scores_of(spec.score, logits)[e] + correction[e] < 0) {
        ++negative;
        break;
      }
  }
  EXPECT_GT(compared, 15000);
  EXPECT_GT(tied, 3000) << "cases with equal scores";
  EXPECT_GT(negative, 3000) << "cases with negative selection scores";
}

TEST(MoeGate, AmongEqualExpertsTheLowerIdWins) {
  EXPECT_THAT(chosen({.experts = 5, .active = 3}, {1, 2, 1, 2, 1}).experts, ElementsAre(1, 3, 0));
  EXPECT_THAT(chosen({.experts = 4, .active = 4}, {0, 0, 0, 0}).experts, ElementsAre(0, 1, 2, 3));
}

TEST(MoeGate, AmongEqualGroupsTheLowerOneIsOpen) {
  const MoeGateSpec best{.experts = 6, .active = 2, .groups = 3, .active_groups = 1};
  EXPECT_THAT(chosen(best, {0, 1, 5, 0, 0, 5}).experts, ElementsAre(2, 3));
  MoeGateSpec two = best;
  two.group_score = GroupScore::sum_of_best_two;
  EXPECT_THAT(chosen(two, {0, 1, 5, 0, 0, 5}).experts, ElementsAre(2, 3));
}

TEST(MoeGate, TheBestExpertAndTheBestTwoOpenDifferentGroups) {
  MoeGateSpec spec{.experts = 4, .active = 2, .groups = 2, .active_groups = 1, .score = GateScore::sigmoid};
  const std::vector<float> logits = {3, -9, 2, 2};
  EXPECT_THAT(chosen(spec, logits).experts, ElementsAre(0, 1));
  spec.group_score = GroupScore::sum_of_best_two;
  EXPECT_THAT(chosen(spec, logits).experts, ElementsAre(2, 3));
}

TEST(MoeGate, TheCorrectionChoosesAndDoesNotWeigh) {
  const MoeGateSpec spec{.experts = 3, .active = 1, .score = GateScore::sigmoid};
  const Choice c = chosen(spec, {2, 0, 1}, {0, 0.9f, 0});
  EXPECT_THAT(c.experts, ElementsAre(1));
  EXPECT_THAT(c.weights, ElementsAre(FloatNear(0.5f, 1e-7f)));
}

// With a mask of 0, as some implementations have it, a closed group's 0 would win against them.
TEST(MoeGate, NegativeSelectionScoresOfOpenGroupsWinAgainstClosedGroups) {
  const MoeGateSpec spec{.experts = 4, .active = 2, .groups = 2, .active_groups = 1, .score = GateScore::sigmoid};
  const Choice c = chosen(spec, {0, 0.5f, 0, 0.5f}, {-3, -3, -2, -2});
  EXPECT_THAT(c.experts, ElementsAre(3, 2));
}

TEST(MoeGate, NormalisedWeightsSumToTheScale) {
  for (const GateScore score : {GateScore::softmax, GateScore::sigmoid}) {
    const MoeGateSpec spec{.experts = 16, .active = 4, .score = score, .normalised = true, .scale = 2.5};
    const Choice c = chosen(spec, random_normal(16, 7));
    EXPECT_NEAR(std::accumulate(c.weights.begin(), c.weights.end(), 0.0), 2.5, 1e-6);
  }
}

TEST(MoeGate, ExtremeLogitsOverflowNothing) {
  const Choice soft = chosen({.experts = 3, .active = 3}, {-3e38f, 3e38f, 0});
  EXPECT_THAT(soft.experts, ElementsAre(1, 0, 2));
  EXPECT_THAT(soft.weights, ElementsAre(1, 0, 0));
  const MoeGateSpec sigmoid{.experts = 3, .active = 3, .score = GateScore::sigmoid, .normalised = true};
  EXPECT_THAT(chosen(sigmoid, {-3e38f, 3e38f, 0}).weights, Pointwise(FloatNear(1e-6f), {2 / 3.f, 1 / 3.f, 0.f}));
  const Choice none = chosen(sigmoid, {-3e38f, -3e38f, -3e38f});
  EXPECT_THAT(none.weights, ElementsAre(0, 0, 0)) << "nothing to normalise by";
}

TEST(MoeGate, NotANumberGivesIdsInRangeAndWeightsThatShowIt) {
  Random random(3);
  for (int i = 0; i < 2000; ++i) {
    const MoeGateSpec spec = random_spec(random);
    auto logits = random_normal(spec.experts, random.next());
    auto correction = random.next() % 2 ? random_normal(spec.experts, random.next()) : std::vector<float>();
    const bool all = random.next() % 2;
    for (float& z : logits)
      if (all || random.next() % 3 == 0) z = NAN;
    if (!correction.empty() && random.next() % 2) correction[0] = NAN;
    const Choice c = chosen(spec, logits, correction);
    for (const float e : c.experts) ASSERT_TRUE(e >= 0 && e < static_cast<float>(spec.experts)) << e;
    for (const float weight : c.weights) ASSERT_TRUE(!all || std::isnan(weight));
  }
}

}  // namespace
}  // namespace cachalot
