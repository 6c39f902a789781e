#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/random.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

std::vector<uint16_t> all_halves() {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  return halves;
}

bool same_number(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

TEST(Convert, WidensEveryBf16Exactly) {
  const auto x = all_halves();
  for (const KernelTable* table : usable_kernels()) {
    SCOPED_TRACE(table->isa);
    std::vector<float> from_bf16(x.size());
    table->bf16_to_f32(x.data(), std::ssize(x), from_bf16.data());
    for (size_t i = 0; i < x.size(); ++i) { ASSERT_TRUE(same_number(from_bf16[i], bf16_to_f32(x[i]))) << i; }
  }
}

TEST(Convert, RoundsToBf16ToNearestEvenAndKeepsNaN) {
  struct Case {
    uint32_t f32;
    uint16_t bf16;
  };
  const Case cases[] = {
      {0x3f800000, 0x3f80},  // 1
      {0x3f808000, 0x3f80},  // halfway, even below
      {0x3f818000, 0x3f82},  // halfway, even above
      {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0xbf818000, 0xbf82},
      {0x7f7fffff, 0x7f80},  // the largest f32 becomes infinity
      {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x00000001, 0x0000},
      {0x00008001, 0x0001}, {0x00018000, 0x0002},  // subnormals are numbers
      {0x80000000, 0x8000}, {0x7f800001, 0x7fc0},  // NaN whose payload lies in the lower half
      {0x7fffffff, 0x7fff}, {0xff800001, 0xffc0},
  };
  for (const KernelTable* table : usable_kernels())
    for (const auto& [f32, bf16] : cases) {
      SCOPED_TRACE(std::string(table->isa) + " " + std::to_string(f32));
      const std::vector<float> x(35, std::bit_cast<float>(f32));  // long enough for every vector width and its tail
      std::vector<uint16_t> y(36, 0xabcd);
      table->f32_to_bf16(x.data(), 35, y.data());
      for (int i = 0; i < 35; ++i) ASSERT_EQ(y[i], bf16);
      ASSERT_EQ(y[35], 0xabcd) << "wrote past the end";
    }
}

TEST(Convert, RoundsLikeTheScalarCodecForEveryLengthAndAnyBits) {
  for (const KernelTable* table : usable_kernels()) {
    Random random(1);
    for (int n = 0; n < 200; ++n) {
      std::vector<float> x(n);
      for (float& value : x) value = std::bit_cast<float>(static_cast<uint32_t>(random.next()));
      std::vector<uint16_t> y(n + 1, 0xabcd);
      table->f32_to_bf16(x.data(), n, y.data());
      for (int i = 0; i < n; ++i) ASSERT_EQ(y[i], f32_to_bf16(x[i])) << table->isa;
      ASSERT_EQ(y[n], 0xabcd) << "wrote past the end";

      std::vector<float> wide(n + 1, -1.0f);
      table->bf16_to_f32(y.data(), n, wide.data());
      ASSERT_EQ(wide[n], -1.0f) << "wrote past the end";
    }
  }
}

TEST(Convert, PreparesRowsWithAZeroBehindAnOddEnd) {
  for (const KernelTable* table : usable_kernels())
    for (const MatmulKernel* kernel : {&table->matmul_f32, &table->matmul_bf16})
      for (int K = 1; K < 70; ++K) {
        SCOPED_TRACE(std::string(table->isa) + " K=" + std::to_string(K));
        const auto x = random_normal(K, K);
        std::vector<std::byte> out(kernel->input_bytes(K) + 1, std::byte{0x55});
        kernel->by_row.prepare(x.data(), K, out.data());
        ASSERT_EQ(out.back(), std::byte{0x55}) << "wrote past the end";
        for (int k = 0; k < K + K % 2; ++k) {
          const float value = k < K ? x[k] : 0;
          if (kernel->inputs == DType::f32) { ASSERT_EQ(std::memcmp(&out[k * 4], &value, 4), 0); }
          const uint16_t half = f32_to_bf16(value);
          if (kernel->inputs == DType::bf16) { ASSERT_EQ(std::memcmp(&out[k * 2], &half, 2), 0); }
        }
      }
}

}  // namespace
}  // namespace cachalot
