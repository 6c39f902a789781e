// What attention needs of the tables beside matrix products.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/kernels.h"

namespace cachalot {
namespace {

constexpr int kTokens = 64;

struct TypedKernel {
  const MatmulKernel& matmul;
  const AttentionKernel& attention;
};
std::vector<TypedKernel> typed_kernels(const KernelTable& table) {
  return {{table.matmul_f32, table.attention_f32}, {table.matmul_bf16, table.attention_bf16}};
}

TEST(AttentionTile, GivesTheBitsOfTheMatrixKernelWhateverIsPrefetchedMeanwhile) {
  for (const KernelTable* table : usable_kernels())
    for (const auto& [matmul, attention] : typed_kernels(*table))
      for (const int64_t K : {1, 2, 7, 64, 129})
        for (const int64_t rows : {1, 2, 5, 6, 7, 13, 48}) {
          SCOPED_TRACE(fmt::format("{} {} K={} rows={}", table->isa, name(matmul.weights), K, rows));
          const int64_t N = matmul.columns;
          const PackedMatrix w = pack(*table, matmul, random_normal(N * K, 1), N, K);
          const auto x = prepare(matmul, random_normal(rows * K, 2), rows, K);
          for (const bool accumulate : {false, true}) {
            auto want = random_normal(rows * N, 3), got = want;
            matmul.by_row.multiply(x.data(), matmul.input_bytes(K), rows, w.panel(0), K, static_cast<int>(N),
                                   want.data(), N, accumulate);
            const std::byte* panel = w.panel(0);
            attention.multiply(x.data(), matmul.input_bytes(K), rows, {&panel, 1}, K, got.data(), N, accumulate,
                               accumulate ? Prefetch{panel, 1000} : Prefetch{});
            EXPECT_EQ(got, want);
          }
        }
}

TEST(AttentionTile, TakesPanelsThatLieApartAsOneChain) {
  constexpr int64_t kInputs = 64, kPanels = 3;
  for (const KernelTable* table : usable_kernels())
    for (const auto& [matmul, attention] : typed_kernels(*table))
      for (const int64_t rows : {1, 6, 16, 33}) {
        SCOPED_TRACE(fmt::format("{} {} rows={}", table->isa, name(matmul.weights), rows));
        const int64_t N = matmul.columns, stride = matmul.input_bytes(kPanels * kInputs);
        const auto x = prepare(matmul, random_normal(rows * kPanels * kInputs, 2), rows, kPanels * kInputs);
        const PackedMatrix w = pack(*table, matmul, random_normal(kPanels * N * kInputs, 1), kPanels * N, kInputs);
        std::vector<const std::byte*> panels;
        for (const int64_t i : {2, 0, 1}) panels.push_back(w.panel(i));
        auto want = random_normal(rows * N, 3), got = want;
        for (int64_t i = 0; i < kPanels; ++i)
          matmul.by_row.multiply(x.data() + matmul.input_bytes(i * kInputs), stride, rows,
                                 panels[static_cast<size_t>(i)], kInputs, static_cast<int>(N), want.data(), N, true);
        attention.multiply(x.data(), stride, rows, panels, kInputs, got.data(), N, true, {});
        EXPECT_EQ(got, want);
      }
}

TEST(KeysAsValues, AreTheSameNumbersWithTokensAsInputs) {
  for (const KernelTable* table : usable_kernels())
    for (const auto& [matmul, attention] : typed_kernels(*table))
      for (const int64_t dim : {2, 6, 20, 32, 64, 66, 512}) {
        const int64_t key_dim = dim + 10;
        SCOPED_TRACE(fmt::format("{} {} dim={}", table->isa, name(matmul.weights), dim));
        const auto keys = random_normal(kTokens * key_dim, 1);  // [token][component]
        std::vector<float> values(static_cast<size_t>(dim * kTokens));
        for (int64_t t = 0; t < kTokens; ++t)
          for (int64_t d = 0; d < dim; ++d) values[d * kTokens + t] = keys[t * key_dim + d];
        const PackedMatrix from = pack(*table, matmul, keys, kTokens, key_dim),
                           want = pack(*table, matmul, values, dim, kTokens);
        std::vector<std::byte> got(want.bytes.size(), std::byte{0x55});
        attention.values_of_keys(from.bytes.data(), key_dim, kTokens, dim, got.data(), {got.data(), std::ssize(got)});
        EXPECT_EQ(got, want.bytes);
      }
}

// To the nearer bf16, ties away from zero.
uint16_t rounded(float x) { return static_cast<uint16_t>((std::bit_cast<uint32_t>(x) + 0x8000) >> 16); }

std::vector<int8_t> random_codes(int64_t count) {
  Random random(7);
  std::vector<int8_t> codes(static_cast<size_t>(count));
  for (int8_t& code : codes) code = static_cast<int8_t>(static_cast<int>(random.next() % 255) - 127);
  return codes;
}
std::vector<uint16_t> random_scales(int64_t count) {
  std::vector<uint16_t> scales;
  for (const float x : random_normal(count, 8)) scales.push_back(f32_to_bf16(std::abs(x)));
  return scales;
}

TEST(CodedCache, KeysAreCodesTimesTheScaleOfTheirGroupAndToken) {
  for (const KernelTable* table : usable_kernels())
    for (const int64_t units : {1, 5, 64}) {
      SCOPED_TRACE(fmt::format("{} units={}", table->isa, units));
      const int64_t columns = table->matmul_bf16.columns;
      std::vector<uint16_t> groups;
      for (int64_t u = 0; u < units; ++u) groups.push_back(static_cast<uint16_t>(u / 4 % 3));
      const auto codes = random_codes(kTokens * 2 * units);
      const auto scales = random_scales(int64_t{3} * kTokens);
      std::vector<uint16_t> got(codes.size()), want(codes.size());
      for (int64_t t = 0; t < kTokens; ++t)
        for (int64_t k = 0; k < 2 * units; ++k) {
          const int64_t panel = t / columns * 2 * units * columns, column = t % columns;
          const float scale = bf16_to_f32(scales[groups[k / 2] * kTokens + t]);
          want[panel + (k / 2 * columns + column) * 2 + k % 2] = rounded(codes[panel + k * columns + column] * scale);
        }
      table->coded_cache.decode_keys(codes.data(), scales.data(), groups.data(), units, kTokens, got.data());
      EXPECT_EQ(got, want);
    }
}

TEST(CodedCache, TurningKeysHaveAScaleForTwoNeighboursAndTheTwoHalfAHeadFurther) {
  for (const KernelTable* table : usable_kernels())
    for (const int64_t units : {1, 2, 5, 64}) {
      SCOPED_TRACE(fmt::format("{} units={}", table->isa, units));
      const int64_t columns = table->matmul_bf16.columns, half = (units + 1) / 2;
      const auto codes = random_codes(kTokens * 2 * units);
      Random random(3);
      std::vector<uint8_t> scales(static_cast<size_t>(half * kTokens));
      for (uint8_t& scale : scales) scale = static_cast<uint8_t>(random.next() % 255);
      std::vector<uint16_t> got(codes.size()), want(codes.size());
      for (int64_t t = 0; t < kTokens; ++t)
        for (int64_t k = 0; k < 2 * units; ++k) {
          const int64_t panel = t / columns * 2 * units * columns, column = t % columns;
          const float scale = small_scale(scales[k / 2 % half * kTokens + t]);
          want[panel + (k / 2 * columns + column) * 2 + k % 2] = rounded(codes[panel + k * columns + column] * scale);
        }
      table->coded_cache.decode_turning_keys(codes.data(), scales.data(), units, kTokens, got.data());
      EXPECT_EQ(got, want);
      scales[0] = kSmallScaleNaN;
      table->coded_cache.decode_turning_keys(codes.data(), scales.data(), units, kTokens, got.data());
      EXPECT_TRUE(std::isnan(bf16_to_f32(got[0])) && std::isnan(bf16_to_f32(got[1])));
      EXPECT_EQ(std::vector(got.begin() + 2, got.begin() + 2 * columns),
                std::vector(want.begin() + 2, want.begin() + 2 * columns));
    }
}

TEST(CodedCache, ValuesAreCodesTimesTheScaleOfTheirGroupAndToken) {
  for (const KernelTable* table : usable_kernels())
    for (const int64_t dim : {1, 20, 32, 64, 70, 128}) {
      SCOPED_TRACE(fmt::format("{} dim={}", table->isa, dim));
      const int64_t columns = table->matmul_bf16.columns, panels = (dim + columns - 1) / columns;
      auto codes = random_codes(panels * kTokens * columns);
      const auto scales = random_scales((dim + kValueGroup - 1) / kValueGroup * kTokens);
      std::vector<uint16_t> got(codes.size()), want(codes.size());
      for (int64_t n = 0; n < panels * columns; ++n)
        for (int64_t t = 0; t < kTokens; ++t) {
          const int64_t panel = n / columns * kTokens * columns, column = n % columns;
          int8_t& code = codes[panel + t * columns + column];
          if (n >= dim) code = 0;
          const float scale = n < dim ? bf16_to_f32(scales[n / kValueGroup * kTokens + t]) : 0;
          want[panel + (t / 2 * columns + column) * 2 + t % 2] = rounded(code * scale);
        }
      table->coded_cache.decode_values(codes.data(), scales.data(), kTokens, dim, got.data());
      EXPECT_EQ(got, want);
    }
}

}  // namespace
}  // namespace cachalot
