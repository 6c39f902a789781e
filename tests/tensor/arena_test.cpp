#include "tensor/arena.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "tensor/dims.h"

namespace cachalot {

TEST(Arena, MemoryIsAlignedAndReusedAfterARewind) {
  Arena arena;
  const auto start = arena.mark();
  const Tensor a = arena.tensor(3, 5), b = arena.tensor(7);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data()) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % 64, 0u);
  EXPECT_GE(b.data(), a.data() + 15);
  arena.rewind(start);
  EXPECT_EQ(arena.tensor(2, 2).data(), a.data());
}

TEST(Arena, GrowsPastItsFirstBlockAndKeepsWhatItHas) {
  Arena arena;
  const auto start = arena.mark();
  const Tensor small = arena.tensor(4);
  small.data()[3] = 42;
  const Tensor large = arena.tensor(int64_t{64} << 20 >> 2);
  large.data()[large.elements() - 1] = 1;
  EXPECT_EQ(small.data()[3], 42);
  const size_t reserved = arena.reserved_bytes();
  for (int step = 0; step < 10; ++step) {
    arena.rewind(start);
    arena.tensor(4);
    arena.tensor(int64_t{64} << 20 >> 2);
  }
  EXPECT_EQ(arena.reserved_bytes(), reserved) << "a repeated step must not reserve more";
}

TEST(Tensor, SplitsAndMergesHeadsAsViews) {
  std::vector<float> numbers(24);
  const Tensor x_TD = tensor_view(numbers.data(), 2, 12);
  const Tensor x_THK = x_TD.split_heads(3);
  EXPECT_EQ(shape_text(x_THK), "[2, 3, 4]");
  EXPECT_EQ(x_THK.row(5), numbers.data() + 20);
  const auto [a, b] = x_THK.split_last(1);
  EXPECT_EQ(shape_text(b), "[2, 3, 3]");
  EXPECT_EQ(b.row(4), numbers.data() + 17);
  EXPECT_FALSE(b.contiguous());
  EXPECT_EQ(shape_text(x_THK.merge_heads()), "[2, 12]");
}

TEST(ShapesDeathTest, EqualLettersMustMeanEqualSizes) {
  std::vector<float> numbers(64);
  const Tensor x_TD = tensor_view(numbers.data(), 2, 12), y_TD = tensor_view(numbers.data(), 2, 12);
  SHAPES(x_TD, y_TD);
  const Tensor z_TD = tensor_view(numbers.data(), 2, 11);
  EXPECT_DEATH(SHAPES(x_TD, z_TD), "z_TD: D = 11, but x_TD says 12");
}

}  // namespace cachalot
