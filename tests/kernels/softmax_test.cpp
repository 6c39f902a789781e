#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

struct Running {
  float max = -INFINITY, sum = 0, factor = -1;
};

// Each exponential: 1e-7 of its own, the rounding of scale * score and of its distance to the maximum (half an ulp
// of numbers up to `reach` each); the sum adds at most half an ulp per addition.
double tolerance(double reach, int n) { return 1e-7 + 2 * 0x1p-24 * reach + n * 0x1p-24 + 1e-7; }

TEST(SoftmaxBlock, MatchesTheF64DefinitionForEveryRangeOfABlock) {
  for (const KernelTable* table : usable_kernels())
    for (const int n : {1, 2, 5, 8, 16, 17, 32, 67})
      for (int begin = 0; begin < n; begin += n > 20 ? 7 : 1)
        for (int end = begin + 1; end <= n; end += n > 20 ? 5 : 1) {
          SCOPED_TRACE(std::string(table->isa) + " n=" + std::to_string(n) + " [" + std::to_string(begin) + ", " +
                       std::to_string(end) + ")");
          const float scale = 0.125f;
          auto score = random_normal(n + 1, n, 30);
          const auto want = reference::softmax(std::span(score).first(n), begin, end, scale);
          const float guard = score[n];
          for (int i = 0; i < n; ++i)
            if (i < begin || i >= end) score[i] = NAN;  // takes no part
          Running r;

          r.factor = table->softmax_block(score.data(), n, begin, end, scale, &r.max, &r.sum);

          ASSERT_EQ(r.factor, 0);
          for (int i = 0; i < n; ++i) {
            if (i < begin || i >= end) { ASSERT_EQ(score[i], 0); }
            ASSERT_NEAR(score[i] / r.sum, want[i], tolerance(40, n) * want[i] + 1e-38);
          }
          ASSERT_EQ(score[n], guard) << "wrote past the end";
        }
}

TEST(SoftmaxBlock, FoldsBlocksIntoTheSoftmaxOfAllOfThem) {
  for (const KernelTable* table : usable_kernels())
    for (const int block : {4, 32, 33}) {
      SCOPED_TRACE(std::string(table->isa) + " block=" + std::to_string(block));
      const int n = 7 * block;
      auto score = random_normal(n, block, 50);
      const auto want = reference::softmax(score, 0, n, 0.1);
      Running r;
      for (int from = 0; from < n; from += block) {
        r.factor = table->softmax_block(&score[from], block, 0, block, 0.1f, &r.max, &r.sum);
        for (int i = 0; i < from; ++i) score[i] *= r.factor;
      }
      for (int i = 0; i < n; ++i) ASSERT_NEAR(score[i] / r.sum, want[i], (7e-7 + tolerance(40, n)) * want[i] + 1e-38);
    }
}

TEST(SoftmaxBlock, ChangesNothingForAnEmptyRange) {
  for (const KernelTable* table : usable_kernels())
    for (const auto& [begin, end] : {std::pair(3, 3), std::pair(0, 0), std::pair(5, 2), std::pair(21, 21)}) {
      std::vector<float> score(21, 1.0f);
      Running r{.max = 0.5f, .sum = 3};
      r.factor = table->softmax_block(score.data(), 21, begin, end, 1, &r.max, &r.sum);
      EXPECT_EQ(r.factor, 1);
      EXPECT_EQ(r.max, 0.5f);
      EXPECT_EQ(r.sum, 3);
      for (const float weight : score) EXPECT_EQ(weight, 0);
    }
}

TEST(SoftmaxBlock, GivesMinusInfinityNoWeightEvenWhenThereIsNothingElse) {
  for (const KernelTable* table : usable_kernels()) {
    std::vector<float> score(21, -INFINITY);
    Running r;
    r.factor = table->softmax_block(score.data(), 21, 0, 21, 0.5f, &r.max, &r.sum);
    EXPECT_EQ(r.factor, 0);
    EXPECT_EQ(r.max, -INFINITY);
    EXPECT_EQ(r.sum, 0);
    for (const float weight : score) EXPECT_EQ(weight, 0);

    score.assign(21, -INFINITY);
    score[20] = 2;
    r.factor = table->softmax_block(score.data(), 21, 0, 21, 0.5f, &r.max, &r.sum);
    EXPECT_EQ(r.max, 1);
    EXPECT_EQ(r.sum, 1);
    for (int i = 0; i < 21; ++i) EXPECT_EQ(score[i], i == 20 ? 1 : 0);

    score.assign(21, -1e30f);  // nothing beside the maximum so far
    r.factor = table->softmax_block(score.data(), 21, 0, 21, 0.5f, &r.max, &r.sum);
    EXPECT_EQ(r.factor, 1);
    EXPECT_EQ(r.sum, 1);
    for (const float weight : score) EXPECT_EQ(weight, 0);
  }
}

TEST(SoftmaxBlock, MakesTheSumNaNWhereverAScoreIsNaN) {
  for (const KernelTable* table : usable_kernels())
    for (const float other : {0.0f, -INFINITY})
      for (int n = 1; n < 36; ++n)
        for (int at = 0; at < n; ++at) {
          std::vector<float> score(n, other);
          score[at] = NAN;
          Running r;
          table->softmax_block(score.data(), n, 0, n, 0.5f, &r.max, &r.sum);
          ASSERT_TRUE(std::isnan(r.sum)) << table->isa << " n=" << n << " at=" << at;
        }
}

}  // namespace
}  // namespace cachalot
