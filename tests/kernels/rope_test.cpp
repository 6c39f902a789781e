#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

struct Angles {
  std::vector<float> cos, sin;
};
Angles angles(int64_t pairs) {
  Angles a{random_normal(pairs, 7), std::vector<float>(pairs)};
  for (int64_t i = 0; i < pairs; ++i) {
    const float angle = a.cos[i] * 100;
    a.cos[i] = std::cos(angle), a.sin[i] = std::sin(angle);
  }
  return a;
}

TEST(Rope, MatchesTheF64DefinitionForBothPairingsAndEveryLength) {
  for (const KernelTable* table : usable_kernels())
    for (int R = 2; R <= 130; R += 2)
      for (const bool halves : {true, false}) {
        SCOPED_TRACE(std::string(table->isa) + " R=" + std::to_string(R) + (halves ? " halves" : " pairs"));
        const auto x_R = random_normal(R, R);
        const auto [cos, sin] = angles(R / 2);
        const auto want_R = reference::rope(x_R, cos, sin, halves);
        std::vector<float> y_R(R + 1, -1.0f);
        const auto rope = halves ? table->rope_halves : table->rope_pairs;

        rope(x_R.data(), cos.data(), sin.data(), R, y_R.data());

        // Three roundings of numbers no larger than the pair's norm; normal numbers of this size stay under 6.
        for (int i = 0; i < R; ++i) ASSERT_NEAR(y_R[i], want_R[i], 3 * 0x1p-24 * 6);
        ASSERT_EQ(y_R[R], -1.0f) << "wrote past the end";
      }
}

TEST(Rope, RoundsBothProductsBeforeItAddsThem) {
  for (const KernelTable* table : usable_kernels())
    for (const int R : {64, 128, 90}) {
      SCOPED_TRACE(table->isa);
      const int pairs = R / 2;
      const auto x = random_normal(R, R);
      const auto [cos, sin] = angles(pairs);
      std::vector<float> by_halves(R), by_pairs(R);
      table->rope_halves(x.data(), cos.data(), sin.data(), R, by_halves.data());
      table->rope_pairs(x.data(), cos.data(), sin.data(), R, by_pairs.data());
      for (int i = 0; i < pairs; ++i) {
        const auto turned = [&](float a, float b) {
          const volatile float ac = a * cos[i], bs = b * sin[i], bc = b * cos[i], as = a * sin[i];
          return std::pair(ac - bs, bc + as);
        };
        ASSERT_EQ(std::pair(by_halves[i], by_halves[i + pairs]), turned(x[i], x[i + pairs]));
        ASSERT_EQ(std::pair(by_pairs[2 * i], by_pairs[2 * i + 1]), turned(x[2 * i], x[2 * i + 1]));
      }
    }
}

}  // namespace
}  // namespace cachalot
