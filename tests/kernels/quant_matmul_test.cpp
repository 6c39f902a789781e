#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/page_buffer.h"
#include "kernels/reference.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

constexpr float kGuard = -12345;

// Random blocks of a quantized type: every byte drawn, but f16 factors of ordinary size.
struct QuantMatrix {
  DType type;
  int64_t N, K;
  std::vector<std::byte> bytes;

  QuantMatrix(DType type_, int64_t rows, int64_t inputs, uint64_t seed) : type(type_), N(rows), K(inputs) {
    Random random(seed);
    bytes.resize(static_cast<size_t>(N * row_bytes(type, K)));
    for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
    const int block_bytes = info(type).block_bytes;
    std::vector<int> halves = {0};
    if (type == DType::q4_1 || type == DType::q5_1 || type == DType::q4_k || type == DType::q5_k) halves.push_back(2);
    if (type == DType::q6_k) halves = {208};
    for (size_t block = 0; block < bytes.size(); block += static_cast<size_t>(block_bytes))
      for (const int at : halves) {
        const uint16_t half = f32_to_f16(static_cast<float>(0.01 * (random.uniform() - 0.5)));
        std::memcpy(&bytes[block + static_cast<size_t>(at)], &half, 2);
      }
  }
  std::vector<float> numbers() const {
    std::vector<float> w(static_cast<size_t>(N * K));
    dequantize(type, bytes, w);
    return w;
  }
  PackedMatrix pack(const MatmulKernel& kernel) const {
    PackedMatrix packed{&kernel, N, K, {}};
    packed.bytes.assign(static_cast<size_t>(packed.panels() * kernel.panel_bytes(K)), std::byte{0xee});
    for (int64_t i = 0; i < packed.panels(); ++i)
      kernel.pack({.w = bytes.data() + i * kernel.columns * row_bytes(type, K),
                   .w_stride_bytes = row_bytes(type, K),
                   .rows = packed.used(i),
                   .K = K,
                   .factors = nullptr,
                   .factor_stride = 0},
                  packed.bytes.data() + i * kernel.panel_bytes(K));
    return packed;
  }
};

// What prepare() should round x to, from its definition: per group of inputs, codes of 1/127 of the largest
// magnitude.
std::vector<float> rounded_inputs(const MatmulKernel& kernel, const std::vector<float>& x) {
  std::vector<float> rounded(x.size());
  const auto group = static_cast<size_t>(kernel.group_inputs);
  for (size_t g = 0; g < x.size(); g += group) {
    float largest = 0;
    for (size_t i = g; i < g + group; ++i) largest = std::max(largest, std::abs(x[i]));
    for (size_t i = g; i < g + group; ++i)
      rounded[i] = largest == 0 ? 0 : std::nearbyint(x[i] * (127 / largest)) * (largest / 127);
  }
  return rounded;
}

struct Cut {
  int64_t rows, ks;
};
std::vector<float> product(const PackedMatrix& w, const std::vector<std::byte>& x, int64_t M, int64_t stride,
                           Cut cut) {
  const MatmulKernel& kernel = *w.kernel;
  std::vector<float> y(static_cast<size_t>(M * stride), kGuard);
  for (int64_t panel = 0; panel < w.panels(); ++panel)
    for (int64_t m = 0; m < M; m += cut.rows)
      for (int64_t k = 0; k < w.K; k += cut.ks)
        kernel.by_row.multiply(x.data() + m * kernel.input_bytes(w.K) + kernel.input_bytes(k),
                               kernel.input_bytes(w.K), std::min(cut.rows, M - m),
                               w.panel(panel) + kernel.panel_bytes(k), std::min(cut.ks, w.K - k), w.used(panel),
                               &y[m * stride + panel * kernel.columns], stride, k > 0);
  return y;
}

// As CpuOps multiplies: through prepare() and multiply().
std::vector<float> products(const PackedMatrix& w, const std::vector<float>& x_MK, int64_t M, int64_t stride) {
  const MatmulKernel& kernel = *w.kernel;
  const PageBuffer inputs(static_cast<size_t>(kernel.inputs_bytes(M, w.K)));
  for (int64_t m = 0; m < M; ++m) kernel.prepare(&x_MK[m * w.K], w.K, m, M, inputs.data());
  std::vector<float> y(static_cast<size_t>(M * stride), kGuard);
  kernel.multiply(inputs.data(), M, w.span(), y.data(), stride);
  return y;
}

std::string label(const KernelTable& table, const MatmulKernel& kernel) {
  return std::string(table.isa) + " " + std::string(name(kernel.weights));
}
int64_t step_of(const MatmulKernel& kernel) { return info(kernel.weights).block_elements; }

TEST(QuantMatmul, TheRestIsWhatTheRoundingOfInputsLeaves) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      SCOPED_TRACE(label(*table, kernel));
      auto x = random_normal(1024, 5);
      std::fill(x.begin() + 256, x.begin() + 512, 0.0f);  // a group without numbers
      const auto rounded = rounded_inputs(kernel, x);
      std::vector<float> rest(x.size());
      kernel.rounding_rest(x.data(), std::ssize(x), rest.data());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(rest[i], x[i] - rounded[i], 5 * 0x1p-23);
    }
}

TEST(QuantMatmul, MatchesTheF64DefinitionOnEveryIsaForEveryTypeAndCountOfRowsColumnsAndInputs) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized)
      for (const int64_t blocks :
           step_of(kernel) == 32 ? std::vector<int64_t>{1, 2, 7, 8, 9, 17} : std::vector<int64_t>{1, 2, 3})
        for (const int64_t N : {1, 17, 63, 64, 69, 128})
          for (const int64_t M : {1, 2, 3, 4, 5, 6, 7, 12, 13, 33}) {
            const int64_t K = blocks * step_of(kernel);
            SCOPED_TRACE(label(*table, kernel) + " M=" + std::to_string(M) + " N=" + std::to_string(N) +
                         " K=" + std::to_string(K));
            const QuantMatrix w(kernel.weights, N, K, 2);
            const auto x = random_normal(M * K, 1), x_used = rounded_inputs(kernel, x), numbers = w.numbers();
            const auto want = reference::matmul(x_used, numbers, M, N, K);
            // Numbers of a type with minimums are differences: the code's part and the minimum alone count for
            // rounding.
            std::vector<float> sizes(numbers.size(), 1.0f);
            float largest = 0;
            for (const float number : numbers) largest = std::max(largest, std::abs(number));
            for (float& size : sizes) size = 2 * largest;
            const auto magnitude = reference::matmul_magnitude(x_used, sizes, M, N, K);

            const auto y = product(w.pack(kernel), prepare(kernel, x, M, K), M, N + 1, {M, K});

            const double roundings =
                2.0 * (2.0 * kernel.group_inputs / 16 + static_cast<double>(K) / kernel.group_inputs + 4);
            for (int64_t m = 0; m < M; ++m) {
              for (int64_t n = 0; n < N; ++n)
                ASSERT_NEAR(y[m * (N + 1) + n], want[m * N + n], roundings * 0x1p-24 * magnitude[m * N + n]);
              ASSERT_EQ(y[m * (N + 1) + N], kGuard) << "wrote past the end";
            }
          }
}

TEST(QuantMatmul, GivesARowTheSameBitsAloneAmongOthersAndCutAnywhere) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      const int64_t M = 71, N = 2 * kernel.columns + 7, K = step_of(kernel) == 32 ? 1056 : 1024;
      const auto w = QuantMatrix(kernel.weights, N, K, 2).pack(kernel);
      const auto x = prepare(kernel, random_normal(M * K, 1), M, K);
      const auto whole = product(w, x, M, N, {M, K});
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 16, 17, 31, 33, 71})
        for (const int64_t ks : {256, 768}) {
          SCOPED_TRACE(label(*table, kernel) + " rows=" + std::to_string(rows) + " ks=" + std::to_string(ks));
          const auto cut = product(w, x, M, N, {rows, ks});
          ASSERT_EQ(std::memcmp(cut.data(), whole.data(), whole.size() * sizeof(float)), 0);
        }
    }
}

TEST(QuantMatmul, GivesRowsInTilesTheBitsThatTheyHaveRowByRow) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized)
      for (const int64_t blocks :
           step_of(kernel) == 32 ? std::vector<int64_t>{1, 2, 8, 13, 33} : std::vector<int64_t>{1, 4})
        for (const int64_t N : {1, 16, 17, 64, 135}) {
          const int64_t K = blocks * step_of(kernel);
          const auto w = QuantMatrix(kernel.weights, N, K, 2).pack(kernel);
          for (const int64_t M : {1, 15, 16, 23, 24, 32, 33, 40, 71, 512, 560}) {
            if (M > 71 && (N != 17 || K > 1024)) continue;
            SCOPED_TRACE(label(*table, kernel) + " M=" + std::to_string(M) + " N=" + std::to_string(N) +
                         " K=" + std::to_string(K));
            const auto x = random_normal(M * K, 1);
            const auto want = product(w, prepare(kernel, x, M, K), M, N + 1, {M, K});
            ASSERT_EQ(std::memcmp(products(w, x, M, N + 1).data(), want.data(), want.size() * sizeof(float)), 0);
          }
        }
}

TEST(QuantMatmul, ReadsEveryCodeOfTheFileAtItsPlace) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      SCOPED_TRACE(label(*table, kernel));
      const int64_t K = 512;
      const QuantMatrix w(kernel.weights, 3, K, 5);
      const auto numbers = w.numbers();
      const auto packed = w.pack(kernel);
      for (const int64_t M : {1, 7})
        for (int64_t k = 0; k < K; ++k) {
          std::vector<float> x(static_cast<size_t>(M * K), 0.0f);
          x[static_cast<size_t>(k)] = 127;  // its group's scale is 1
          const auto y = product(packed, prepare(kernel, x, M, K), M, 3, {M, K});
          for (int64_t n = 0; n < 3; ++n) {
            const float want = 127 * numbers[n * K + k];
            ASSERT_NEAR(y[n], want, 1e-5 + 1e-6 * std::abs(want)) << "k " << k << " n " << n;
          }
        }
    }
}

TEST(QuantMatmul, TakesTheLargestCodesAndInputsWithoutOverflow) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      if (kernel.weights != DType::q8_0) continue;
      SCOPED_TRACE(label(*table, kernel));
      const int64_t K = 256;
      for (const int code : {-128, 127}) {
        QuantMatrix w(kernel.weights, 1, K, 5);
        for (size_t i = 0; i < w.bytes.size(); ++i)
          if (i % 34 >= 2) w.bytes[i] = static_cast<std::byte>(code);
        const auto numbers = w.numbers();
        for (const float x_value : {-1.0f, 1.0f}) {
          const std::vector<float> x(static_cast<size_t>(K), x_value);
          const auto y = product(w.pack(kernel), prepare(kernel, x, 1, K), 1, 1, {1, K});
          double want = 0;
          for (const float number : numbers) want += static_cast<double>(number) * x_value;
          ASSERT_NEAR(y[0], want, 1e-5 * std::abs(want));
        }
      }
    }
}

TEST(QuantMatmul, TakesTheLargestScalesOfBlocksWithoutOverflow) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      if (step_of(kernel) != 256) continue;
      const int64_t K = 512, M = 33;
      const size_t bytes = info(kernel.weights).block_bytes;
      const bool six = kernel.weights == DType::q6_k;
      const size_t scales = six ? 192 : 4, scales_end = six ? 208 : 16;
      for (const int scale : {0x7f, 0x80, 0xff})
        for (const int code : {0x00, 0xff}) {
          SCOPED_TRACE(label(*table, kernel) + " scales " + std::to_string(scale) + " codes " + std::to_string(code));
          QuantMatrix w(kernel.weights, 1, K, 5);
          for (size_t i = 0; i < w.bytes.size(); ++i) {
            const size_t at = i % bytes;
            if (at >= scales && at < scales_end)
              w.bytes[i] = static_cast<std::byte>(scale);
            else if (six ? at < scales : at >= scales_end)
              w.bytes[i] = static_cast<std::byte>(code);
          }
          const auto numbers = w.numbers();
          for (const float x_value : {-1.0f, 1.0f}) {
            const std::vector<float> x(static_cast<size_t>(M * K), x_value);
            double want = 0, size = 0;
            for (const float number : numbers)
              want += static_cast<double>(number) * x_value, size += std::abs(number);
            for (const float y : products(w.pack(kernel), x, M, 1)) ASSERT_NEAR(y, want, 1e-5 * size);
          }
        }
    }
}

TEST(QuantMatmul, LetsNaNAndInfinityOfTheInputsThroughAndKeepsTinyGroupsApart) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel& kernel : table->matmul_quantized) {
      SCOPED_TRACE(label(*table, kernel));
      const auto w = QuantMatrix(kernel.weights, 2, 512, 5).pack(kernel);
      auto x = random_normal(512, 1);
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        auto x_bad = x;
        x_bad[100] = bad;
        for (const float y : product(w, prepare(kernel, x_bad, 1, 512), 1, 2, {1, 512}))
          EXPECT_FALSE(std::isfinite(y));
      }
      std::fill(x.begin(), x.end(), 1e-39f);
      for (const float y : product(w, prepare(kernel, x, 1, 512), 1, 2, {1, 512})) EXPECT_EQ(y, 0);
    }
}

TEST(QuantMatmul, PanelsTakeAsMuchMemoryAsTheFile) {
  for (const MatmulKernel& kernel : best_kernels().matmul_quantized)
    EXPECT_EQ(kernel.panel_bytes(512), kernel.columns * row_bytes(kernel.weights, 512));
}

}  // namespace
}  // namespace cachalot
