#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

// Every matrix kernel of every usable table, by name.
struct Named {
  std::string name;
  const KernelTable* table;
  const MatmulKernel* kernel;
};
std::vector<Named> matmul_kernels() {
  std::vector<Named> all;
  for (const KernelTable* table : usable_kernels()) {
    all.push_back({std::string(table->isa) + " f32", table, &table->matmul_f32});
    all.push_back({std::string(table->isa) + " bf16", table, &table->matmul_bf16});
  }
  return all;
}

constexpr float kGuard = -12345;

// y[M][N] = x w^T through one table, rows `stride` apart; every call covers `rows` rows and `ks` inputs.
struct Cut {
  int64_t rows, ks;
};
std::vector<float> product(const PackedMatrix& w, const std::vector<std::byte>& x, int64_t M, int64_t stride, Cut cut,
                           std::vector<float> y = {}) {
  const MatmulKernel& kernel = *w.kernel;
  const int input_bytes = kernel.inputs == DType::f32 ? 4 : 2;
  const bool onward = !y.empty();
  if (y.empty()) y.assign(static_cast<size_t>(M * stride), kGuard);
  for (int64_t panel = 0; panel < w.panels(); ++panel)
    for (int64_t m = 0; m < M; m += cut.rows)
      for (int64_t k = 0; k < w.K; k += cut.ks)
        kernel.by_row.multiply(x.data() + m * kernel.input_bytes(w.K) + k * input_bytes, kernel.input_bytes(w.K),
                               std::min(cut.rows, M - m), w.panel(panel) + kernel.panel_bytes(k),
                               std::min(cut.ks, w.K - k), w.used(panel), &y[m * stride + panel * kernel.columns],
                               stride, onward || k > 0);
  return y;
}

// Half an ulp per rounding: K products and K sums at most, plus one for `start`.
double tolerance(int64_t K, double magnitude) { return (2 * K + 2) * 0x1p-24 * magnitude + 1e-37; }

TEST(Matmul, MatchesTheF64DefinitionOnEveryIsaForEveryCountOfRowsColumnsAndInputs) {
  for (const auto& [name, table, kernel] : matmul_kernels()) {
    const int columns = kernel->columns;
    for (const int64_t K : {1, 2, 3, 8, 31, 64, 257})
      for (const int64_t N : {1, 3, columns - 1, columns, columns + 5, 2 * columns})
        for (int64_t M = 1; M <= 13; ++M) {
          SCOPED_TRACE(name + " M=" + std::to_string(M) + " N=" + std::to_string(N) + " K=" + std::to_string(K));
          const auto x = random_normal(M * K, 1), w = random_normal(N * K, 2);
          const auto x_used = rounded_to(kernel->inputs, x), w_used = rounded_to(kernel->weights, w);
          const auto want = reference::matmul(x_used, w_used, M, N, K);
          const auto magnitude = reference::matmul_magnitude(x_used, w_used, M, N, K);

          const auto packed = pack(*table, *kernel, w, N, K);
          const auto y = product(packed, prepare(*kernel, x, M, K), M, N + 1, {M, K});

          for (int64_t m = 0; m < M; ++m) {
            for (int64_t n = 0; n < N; ++n)
              ASSERT_NEAR(y[m * (N + 1) + n], want[m * N + n], tolerance(K, magnitude[m * N + n]));
            ASSERT_EQ(y[m * (N + 1) + N], kGuard) << "wrote past the end";
          }
        }
  }
}

TEST(Matmul, ContinuesFromWhatTheResultHolds) {
  for (const auto& [name, table, kernel] : matmul_kernels()) {
    SCOPED_TRACE(name);
    const int64_t M = 7, N = kernel->columns + 3, K = 65;
    const auto x = random_normal(M * K, 1), w = random_normal(N * K, 2), start = random_normal(M * N, 3, 100);
    const auto x_used = rounded_to(kernel->inputs, x), w_used = rounded_to(kernel->weights, w);
    const auto want = reference::matmul(x_used, w_used, M, N, K, start);
    const auto magnitude = reference::matmul_magnitude(x_used, w_used, M, N, K, start);

    const auto y = product(pack(*table, *kernel, w, N, K), prepare(*kernel, x, M, K), M, N, {M, K}, start);

    for (int64_t i = 0; i < M * N; ++i) ASSERT_NEAR(y[i], want[i], tolerance(K, magnitude[i]));
  }
}

TEST(Matmul, GivesARowTheSameBitsAloneAmongOthersAndCutAnywhere) {
  for (const auto& [name, table, kernel] : matmul_kernels()) {
    const int64_t M = 71, N = 2 * kernel->columns + 7, K = 1037;
    const auto w = pack(*table, *kernel, random_normal(N * K, 2), N, K);
    const auto x = prepare(*kernel, random_normal(M * K, 1), M, K);
    const auto whole = product(w, x, M, N, {M, K});
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17, 31, 33, 71})
      for (int64_t ks : {2, 6, 64, 510, 1036, 1038}) {
        ks = (ks + kernel->block_inputs - 1) / kernel->block_inputs * kernel->block_inputs;
        SCOPED_TRACE(name + " rows=" + std::to_string(rows) + " ks=" + std::to_string(ks));
        const auto cut = product(w, x, M, N, {rows, ks});
        ASSERT_EQ(std::memcmp(cut.data(), whole.data(), whole.size() * sizeof(float)), 0);
      }
  }
}

TEST(Matmul, LetsNaNAndInfinityThrough) {
  for (const auto& [name, table, kernel] : matmul_kernels()) {
    SCOPED_TRACE(name);
    const int64_t N = 5, K = 9;
    std::vector<float> x(K, 1), w(N * K, 1);
    w[1 * K + 4] = NAN, w[2 * K + 8] = INFINITY, w[3 * K + 0] = -INFINITY;
    const auto y = product(pack(*table, *kernel, w, N, K), prepare(*kernel, x, 1, K), 1, N, {1, K});
    EXPECT_EQ(y[0], 9);
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_EQ(y[2], INFINITY);
    EXPECT_EQ(y[3], -INFINITY);
    EXPECT_EQ(y[4], 9);
  }
}

}  // namespace
}  // namespace cachalot
