#include <gtest/gtest.h>

#include <cmath>

#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

constexpr float kGuard = -12345;

// y[M][N] = x w^T, rows `stride` apart, in calls of `rows` rows and `ks` inputs (whole blocks).
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

// Half an ulp per rounding, every fma taken as two: a block's chain, the sum over the blocks, and `start`.
double tolerance(int64_t K, double magnitude) {
  const int64_t blocks = (K + 127) / 128;
  return 2 * static_cast<double>(std::min<int64_t>(K, 128) + blocks + 1) * 0x1p-24 * magnitude + 1e-37;
}

TEST(CodedMatmul, MatchesTheF64DefinitionOnEveryIsaForEveryCountOfRowsColumnsAndInputs) {
  for (const KernelTable* table : usable_kernels()) {
    const MatmulKernel& kernel = table->matmul_fp8;
    for (const int64_t K : {1, 2, 3, 4, 5, 31, 64, 127, 128, 129, 256, 386})
      for (const int64_t N : {1, 3, 15, 16, 17, 63, 64, 69, 128})
        for (const int64_t M : {1, 2, 3, 5, 6, 7, 12, 13, 33}) {
          SCOPED_TRACE(std::string(table->isa) + " M=" + std::to_string(M) + " N=" + std::to_string(N) +
                       " K=" + std::to_string(K));
          const CodedMatrix w(N, K, 2);
          const auto x = random_normal(M * K, 1), x_used = rounded_to(kernel.inputs, x), numbers = w.numbers();
          const auto want = reference::matmul(x_used, numbers, M, N, K);
          const auto magnitude = reference::matmul_magnitude(x_used, numbers, M, N, K);

          const auto y = product(w.pack(kernel), prepare(kernel, x, M, K), M, N + 1, {M, K});

          for (int64_t m = 0; m < M; ++m) {
            for (int64_t n = 0; n < N; ++n)
              ASSERT_NEAR(y[m * (N + 1) + n], want[m * N + n], tolerance(K, magnitude[m * N + n]));
            ASSERT_EQ(y[m * (N + 1) + N], kGuard) << "wrote past the end";
          }
        }
  }
}

TEST(CodedMatmul, ContinuesFromWhatTheResultHolds) {
  for (const KernelTable* table : usable_kernels())
    for (const int64_t M : {1, 7}) {
      SCOPED_TRACE(std::string(table->isa) + " M=" + std::to_string(M));
      const MatmulKernel& kernel = table->matmul_fp8;
      const int64_t N = kernel.columns + 3, K = 260;
      const CodedMatrix w(N, K, 2);
      const auto x = random_normal(M * K, 1), start = random_normal(M * N, 3, 100), numbers = w.numbers();
      const auto x_used = rounded_to(kernel.inputs, x);
      const auto want = reference::matmul(x_used, numbers, M, N, K, start);
      const auto magnitude = reference::matmul_magnitude(x_used, numbers, M, N, K, start);

      const auto y = product(w.pack(kernel), prepare(kernel, x, M, K), M, N, {M, K}, start);

      for (int64_t i = 0; i < M * N; ++i) ASSERT_NEAR(y[i], want[i], tolerance(K, magnitude[i]));
    }
}

TEST(CodedMatmul, GivesARowTheSameBitsAloneAmongOthersAndCutAnywhere) {
  for (const KernelTable* table : usable_kernels()) {
    const MatmulKernel& kernel = table->matmul_fp8;
    const int64_t M = 71, N = 2 * kernel.columns + 7, K = 1037;
    const auto w = CodedMatrix(N, K, 2).pack(kernel);
    const auto x = prepare(kernel, random_normal(M * K, 1), M, K);
    const auto whole = product(w, x, M, N, {M, K});
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17, 31, 33, 71})
      for (const int64_t ks : {128, 256, 640, 1024, 1152}) {
        SCOPED_TRACE(std::string(table->isa) + " rows=" + std::to_string(rows) + " ks=" + std::to_string(ks));
        const auto cut = product(w, x, M, N, {rows, ks});
        ASSERT_EQ(std::memcmp(cut.data(), whole.data(), whole.size() * sizeof(float)), 0);
      }
  }
}

TEST(CodedMatmul, ReadsEveryCodeExactlyForOneRowAndForMany) {
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>((i & 0x7f) == 0x7f ? 0 : i);
  std::vector<float> want(codes.size());
  dequantize(DType::f8_e4m3, std::as_bytes(std::span(codes)), want);
  for (const KernelTable* table : usable_kernels()) {
    const MatmulKernel& kernel = table->matmul_fp8;
    CodedMatrix w(1, 256, 1);
    w.codes = codes;
    w.factors = {1, 1};
    const auto packed = w.pack(kernel);
    for (const int64_t M : {1, 2})
      for (size_t k = 0; k < codes.size(); ++k) {
        std::vector<float> x(static_cast<size_t>(M) * 256, 0.0f);
        x[k] = 1;
        const auto y = product(packed, prepare(kernel, x, M, 256), M, 1, {M, 256});
        ASSERT_EQ(y[0], want[k]) << table->isa << " code " << k;
      }
  }
}

TEST(CodedMatmul, LetsNaNAndInfinityOfTheInputsThrough) {
  for (const KernelTable* table : usable_kernels())
    for (const int64_t M : {1, 3}) {
      SCOPED_TRACE(table->isa);
      const MatmulKernel& kernel = table->matmul_fp8;
      CodedMatrix w(1, 256, 1);
      std::fill(w.codes.begin(), w.codes.end(), 0x38);  // ones
      w.factors = {0.5f, 2};
      for (const float special : {NAN, INFINITY, -INFINITY}) {
        std::vector<float> x(static_cast<size_t>(M) * 256, 1.0f);
        x[200] = special;
        const auto y = product(w.pack(kernel), prepare(kernel, x, M, 256), M, 1, {M, 256});
        EXPECT_TRUE(std::isnan(special) ? std::isnan(y[0]) : y[0] == special);
        if (M > 1) { EXPECT_EQ(y[1], 64 + 256); }
      }
    }
}

TEST(CodedMatmul, APanelHoldsTheFactorsAndThenTheUnitsOfEachBlock) {
  for (const KernelTable* table : usable_kernels()) {
    SCOPED_TRACE(table->isa);
    const MatmulKernel& kernel = table->matmul_fp8;
    EXPECT_EQ(kernel.columns, 64);
    EXPECT_EQ(kernel.panel_bytes(128), 64 * (128 + 4)) << "one byte per weight, one factor per block";
    EXPECT_EQ(kernel.panel_bytes(130), 64 * (132 + 8));
    const float code_scale = kernel.inputs == DType::f32 ? 256 : 1;
    const CodedMatrix w(3, 130, 5);
    const auto packed = w.pack(kernel);
    ASSERT_EQ(static_cast<int64_t>(packed.bytes.size()), kernel.panel_bytes(130));
    for (int64_t block = 0; block < 2; ++block) {
      const std::byte* at = packed.bytes.data() + kernel.panel_bytes(block * 128);
      for (int n = 0; n < 64; ++n) {
        float factor;
        std::memcpy(&factor, at + n * 4, 4);
        EXPECT_EQ(factor, n < 3 ? code_scale * w.factors[n * 2 + block] : 0);
      }
    }
  }
}

}  // namespace
}  // namespace cachalot
