// How many rows a step has, by what steps have taken.
#include "engine/row_budget.h"

#include <gtest/gtest.h>

namespace cachalot {

// Steps of a machine that takes `weights` and then `row` for each.
static int settled(double seconds, double weights, double row, int most = 512) {
  RowBudget budget(seconds);
  for (int step = 0; step < 60; ++step) {
    const int rows = budget.rows(most);
    budget.took(rows, weights + rows * row);
  }
  return budget.rows(most);
}

TEST(RowBudget, AStepTakesTheStatedTime) {
  EXPECT_NEAR(settled(0.25, 0, 1e-3), 250, 1);
  EXPECT_NEAR(settled(0.25, 0.05, 1e-3), 200, 2) << "the weights are read once";
  EXPECT_NEAR(settled(0.5, 0.05, 1e-3), 450, 2);
}

TEST(RowBudget, HasBounds) {
  EXPECT_EQ(settled(0.25, 0, 1e-5), 512);
  EXPECT_EQ(settled(0.25, 1, 1), RowBudget::kLeastRows) << "fewer rows take hardly less time";
  EXPECT_EQ(settled(0.25, 1, 1, 20), 20);
  EXPECT_EQ(settled(0, 1, 1), 512) << "any time";
}

// Behind a long history a row takes far more than its share of the weights: 64 of them would be a long pause.
TEST(RowBudget, HasFewerRowsWhereRowsAreWhatTakesTheTime) {
  RowBudget budget(0.25);
  budget.took(1, 0.05);  // someone decodes
  for (int step = 0; step < 60; ++step) {
    const int rows = budget.rows(512);
    budget.took(rows, 0.05 + rows * 0.01);
  }
  EXPECT_NEAR(budget.rows(512), 20, 1);
  for (int step = 0; step < 60; ++step) budget.took(budget.rows(512), 0.05 + budget.rows(512) * 0.05);
  EXPECT_EQ(budget.rows(512), RowBudget::kFewestRows);
  for (int step = 0; step < 60; ++step) budget.took(budget.rows(512), 0.05 + budget.rows(512) * 0.001);
  EXPECT_NEAR(budget.rows(512), 200, 2) << "and comes back";
}

TEST(RowBudget, BeginsWithFewRowsAndFollowsTheMachine) {
  RowBudget budget(0.25);
  EXPECT_EQ(budget.rows(512), RowBudget::kLeastRows);
  budget.took(1, 10);  // says what reading the weights takes
  EXPECT_EQ(budget.rows(512), RowBudget::kLeastRows);
  budget.took(64, 0.064);
  EXPECT_NEAR(budget.rows(512), 250, 1);
  budget.took(250, 2.5);  // disturbed, or deep in a text
  const int slower = budget.rows(512);
  EXPECT_GT(slower, 60);
  EXPECT_LT(slower, 80);
  for (int i = 0; i < 20; ++i) budget.took(64, 0.064);
  EXPECT_NEAR(budget.rows(512), 250, 3);
  budget.took(64, 0);  // a clock that stands still says nothing
  EXPECT_NEAR(budget.rows(512), 250, 3);
}

}  // namespace cachalot
