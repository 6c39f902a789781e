// FP8 matrices as CpuOps holds and multiplies them.
#include <gmock/gmock.h>

#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "kernels/reference.h"
#include "ops/cpu/cpu_ops.h"
#include "support/kernels.h"

namespace cachalot {
namespace {

using ::testing::HasSubstr;

// A matrix in blocks of 128 x 128, in memory.
struct Stored {
  std::vector<std::byte> codes, factors;
  StoredTensor tensor;

  Stored(int64_t rows, int64_t columns) {
    Random random(rows + columns);
    codes.resize(static_cast<size_t>(rows * columns));
    for (std::byte& code : codes) {
      code = static_cast<std::byte>(random.next());
      if ((code & std::byte{0x7f}) == std::byte{0x7f}) code = std::byte{0};
    }
    const int64_t grid_rows = (rows + 127) / 128, grid_columns = (columns + 127) / 128;
    std::vector<float> values(static_cast<size_t>(grid_rows * grid_columns));
    for (float& value : values) value = static_cast<float>(0.001 + random.uniform());
    factors.resize(values.size() * 4);
    std::memcpy(factors.data(), values.data(), factors.size());
    tensor = {.name = "w",
              .dtype = DType::f8_e4m3,
              .shape = {rows, columns},
              .bytes = codes,
              .scales = BlockScales{.dtype = DType::f32,
                                    .bytes = factors,
                                    .block_rows = 128,
                                    .block_columns = 128,
                                    .grid_rows = grid_rows,
                                    .grid_columns = grid_columns,
                                    .matrix_rows = rows}};
  }
  Stored(const Stored&) = delete;
};

std::vector<float> all_rows(const StoredTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  tensor.read_rows(0, tensor.rows(), values.data());
  return values;
}

StoredTensor dequantized(const StoredTensor& tensor, const std::vector<float>& values) {
  return {.name = "w", .dtype = DType::f32, .shape = tensor.shape, .bytes = std::as_bytes(std::span(values))};
}

std::vector<float> multiplied(CpuOps& ops, const Weight& w, const std::vector<float>& x, int64_t rows) {
  Tensor x_TD = ops.arena().tensor(rows, std::ssize(x) / rows);
  std::copy(x.begin(), x.end(), x_TD.data());
  const Tensor y = ops.linear(x_TD, {w});
  return {y.data(), y.data() + y.elements()};
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) { return error.what(); }
  return "";
}

TEST(Fp8Weights, MultiplyAsTheirNumbersDo) {
  const Stored w(300, 260);
  const auto numbers = all_rows(w.tensor);
  for (const KernelTable* kernels : usable_kernels())
    for (const int64_t rows : {1, 3, 9}) {
      SCOPED_TRACE(std::string(kernels->isa) + " rows=" + std::to_string(rows));
      CpuOps ops(*kernels, 2);
      const auto x = random_normal(rows * 260, 1), x_used = rounded_to(kernels->matmul_fp8.inputs, x);
      const Weight weight = ops.load_matrix({w.tensor}, DType::f8_e4m3);
      EXPECT_EQ(weight.held_bytes, ops.matrix_bytes(300, 260, DType::f8_e4m3));
      const auto y = multiplied(ops, weight, x, rows);
      const auto want = reference::matmul(x_used, numbers, rows, 300, 260);
      const auto magnitude = reference::matmul_magnitude(x_used, numbers, rows, 300, 260);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], want[i], 300 * 0x1p-24 * magnitude[i]);
    }
}

TEST(Fp8Weights, TakeOneBytePerWeightAndFourPerBlockOf128) {
  const CpuOps ops(*usable_kernels()[0], 1);
  EXPECT_EQ(ops.matrix_bytes(7168, 2048, DType::f8_e4m3), 7168 * 2048 + 7168 * 16 * 4);
}

TEST(Fp8Weights, APartThatBeginsInTheMiddleOfABlockGivesTheSameBits) {
  const Stored w(300, 260);
  for (const KernelTable* kernels : usable_kernels()) {
    CpuOps ops(*kernels, 1);
    const auto x = random_normal(260, 1);
    const auto whole = multiplied(ops, ops.load_matrix({w.tensor}, DType::f8_e4m3), x, 1);
    const auto part = multiplied(ops, ops.load_matrix({w.tensor.rows_part(77, 290)}, DType::f8_e4m3), x, 1);
    EXPECT_EQ(std::memcmp(part.data(), whole.data() + 77, part.size() * 4), 0) << kernels->isa;
  }
}

TEST(Fp8Weights, HeldAsF32OrBf16AreTheirDequantizedNumbers) {
  const Stored w(130, 140);
  const auto numbers = all_rows(w.tensor);
  CpuOps ops(*usable_kernels()[0], 2);
  for (const DType held : {DType::f32, DType::bf16})
    for (const bool transposed : {false, true}) {
      const auto x = random_normal(transposed ? 130 : 140, 1);
      const auto got = multiplied(ops, ops.load_matrix({w.tensor, transposed}, held), x, 1);
      const auto want = multiplied(ops, ops.load_matrix({dequantized(w.tensor, numbers), transposed}, held), x, 1);
      EXPECT_EQ(got, want) << name(held) << (transposed ? ", transposed" : "");
    }
}

TEST(Fp8Weights, ThatAreNoNumbersAreRefusedHoweverTheyAreHeld) {
  Stored w(130, 140);
  w.codes[129 * 140 + 3] = std::byte{0xff};
  CpuOps ops(*usable_kernels()[0], 2);
  for (const DType held : {DType::f8_e4m3, DType::f32, DType::bf16})
    EXPECT_THAT(refusal([&] { ops.load_matrix({w.tensor}, held); }), HasSubstr("row 129 of tensor 'w' holds a NaN"));
  EXPECT_THAT(refusal([&] { ops.load_matrix({w.tensor, true}, DType::bf16); }), HasSubstr("holds a NaN"));
  w.codes[129 * 140 + 3] = std::byte{0};
  const float bad = -1;
  std::memcpy(&w.factors[4], &bad, 4);
  EXPECT_THAT(refusal([&] { ops.load_matrix({w.tensor}, DType::f8_e4m3); }), HasSubstr("has the factor -1"));
}

}  // namespace
}  // namespace cachalot
