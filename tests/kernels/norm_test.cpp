#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

TEST(RmsNorm, MatchesTheF64DefinitionOnEveryIsaAndEveryTail) {
  for (const KernelTable* table : usable_kernels())
    for (const int D : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 896, 7168, 16384}) {
      SCOPED_TRACE(std::string(table->isa) + " D=" + std::to_string(D));
      const auto x_D = random_normal(D, /*seed=*/D), gain_D = random_normal(D, /*seed=*/D + 1);
      const auto want_D = reference::rms_norm(x_D, gain_D, 1e-6f);
      std::vector<float> y_D(D + 1, -1.0f);  // one guard element past the end

      table->rms_norm(x_D.data(), gain_D.data(), 1e-6f, D, y_D.data());

      // Five roundings after the sum, and half of the sum's own, whose errors mostly cancel: see the figures in
      // norm.h.
      for (int d = 0; d < D; ++d) ASSERT_NEAR(y_D[d], want_D[d], 1e-6 * std::abs(want_D[d]));
      ASSERT_EQ(y_D[D], -1.0f) << "wrote past the end";

      auto in_place = x_D;
      table->rms_norm(in_place.data(), gain_D.data(), 1e-6f, D, in_place.data());
      ASSERT_EQ(std::memcmp(in_place.data(), y_D.data(), D * sizeof(float)), 0);
    }
}

TEST(RmsNorm, ScalesARowOfZerosToZerosAndPassesNaNOn) {
  for (const KernelTable* table : usable_kernels()) {
    std::vector<float> x_D(21, 0.0f), gain_D(21, 2.0f), y_D(21, -1.0f);
    table->rms_norm(x_D.data(), gain_D.data(), 1e-6f, 21, y_D.data());
    for (const float y : y_D) ASSERT_EQ(y, 0.0f);
    x_D[20] = NAN;
    table->rms_norm(x_D.data(), gain_D.data(), 1e-6f, 21, y_D.data());
    for (const float y : y_D) ASSERT_TRUE(std::isnan(y));
  }
}

}  // namespace
}  // namespace cachalot
