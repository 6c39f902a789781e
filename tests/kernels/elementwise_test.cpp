#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

TEST(Swiglu, MatchesTheF64DefinitionOnEveryIsaAndEveryTail) {
  for (const KernelTable* table : usable_kernels())
    for (const int n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 8960}) {
      SCOPED_TRACE(std::string(table->isa) + " n=" + std::to_string(n));
      const auto gate = random_normal(n, 1, 20), up = random_normal(n, 2);
      const auto want = reference::swiglu(gate, up);
      std::vector<float> y(n + 1, -1.0f);

      table->swiglu(gate.data(), up.data(), n, y.data());

      for (int i = 0; i < n; ++i) ASSERT_NEAR(y[i], want[i], 2.5e-7 * std::abs(want[i]) + 1e-36);
      ASSERT_EQ(y[n], -1.0f) << "wrote past the end";

      for (auto in_place : {gate, up}) {
        const bool is_gate = in_place == gate;
        table->swiglu(is_gate ? in_place.data() : gate.data(), is_gate ? up.data() : in_place.data(), n,
                      in_place.data());
        ASSERT_EQ(std::memcmp(in_place.data(), y.data(), n * sizeof(float)), 0);
      }
    }
}

TEST(Swiglu, GoesToZeroFarBelowAndToTheGateFarAbove) {
  for (const KernelTable* table : usable_kernels()) {
    const std::vector<float> gate = {0.0f, -80, -88, -89, -100, -1e30f, 80, 100, 1e30f, INFINITY, NAN}, up(11, 1.0f);
    std::vector<float> y(11);
    table->swiglu(gate.data(), up.data(), 11, y.data());
    EXPECT_EQ(y[0], 0);
    for (int i = 1; i < 6; ++i)
      EXPECT_NEAR(y[i], reference::silu(gate[i]), 2.5e-7 * std::abs(reference::silu(gate[i])) + 1e-36);
    for (int i = 6; i < 10; ++i) EXPECT_EQ(y[i], gate[i]);
    EXPECT_TRUE(std::isnan(y[10]));
  }
}

TEST(Activations, MatchTheF64DefinitionsOnEveryIsaAndEveryTail) {
  for (const KernelTable* table : usable_kernels())
    for (const int n : {1, 3, 7, 8, 15, 16, 17, 33, 1000}) {
      SCOPED_TRACE(std::string(table->isa) + " n=" + std::to_string(n));
      const auto x = random_normal(n, n, 5);
      for (const double beta : {1.0, 0.3, 1.702}) {
        std::vector<float> y(n + 1, -1.0f);
        table->silu(x.data(), static_cast<float>(beta), n, y.data());
        for (int i = 0; i < n; ++i) {
          const double want = reference::silu(x[i], static_cast<float>(beta));
          ASSERT_NEAR(y[i], want, 2.5e-7 * (1 + std::abs(beta * x[i])) * std::abs(want) + 1e-36);
        }
        ASSERT_EQ(y[n], -1.0f) << "wrote past the end";
      }
      std::vector<float> y(n + 1, -1.0f);
      table->gelu(x.data(), n, y.data());
      for (int i = 0; i < n; ++i) ASSERT_NEAR(y[i], reference::gelu(x[i]), 2.5e-7 * std::max(1.0f, std::abs(x[i])));
      ASSERT_EQ(y[n], -1.0f) << "wrote past the end";
    }
}

TEST(AddAndScale, RoundOnceForEveryLength) {
  for (const KernelTable* table : usable_kernels())
    for (int n = 0; n < 70; ++n) {
      const auto a = random_normal(n, 1), b = random_normal(n, 2);
      std::vector<float> y(n + 1, -1.0f);
      table->add(a.data(), b.data(), n, y.data());
      for (int i = 0; i < n; ++i) ASSERT_EQ(y[i], a[i] + b[i]);
      ASSERT_EQ(y[n], -1.0f) << "wrote past the end";

      auto onto = a;
      table->add(onto.data(), b.data(), n, onto.data());
      ASSERT_TRUE(std::equal(onto.begin(), onto.end(), y.begin()));

      table->scale(y.data(), n, 0.3f);
      for (int i = 0; i < n; ++i) ASSERT_EQ(y[i], (a[i] + b[i]) * 0.3f);
      ASSERT_EQ(y[n], -1.0f) << "wrote past the end";
    }
}

}  // namespace
}  // namespace cachalot
