#include "base/progress.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

TEST(Progress, ShowsItsShareAsABarAndAPercentage) {
  EXPECT_EQ(progress_bar(1, 2), "[###############---------------] 50 %");
  EXPECT_EQ(progress_bar(999, 1000), "[#############################-] 99 %");
  EXPECT_EQ(progress_bar(7, 7), "[##############################] 100 %");
}

TEST(Progress, SurvivesSizesThatMakeNoSense) {
  EXPECT_EQ(progress_bar(5, 0), "[------------------------------] 0 %");
  EXPECT_EQ(progress_bar(-5, 10), "[------------------------------] 0 %");
  EXPECT_EQ(progress_bar(50, 10), "[##############################] 100 %");
}

}  // namespace
}  // namespace cachalot
