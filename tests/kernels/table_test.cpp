// What a matrix kernel makes of its two micro-kernels, with such that only write down how they are called: the choice
// between them is the same on every processor, also on those that have but one.
#include <gtest/gtest.h>

#include "kernels/table.h"

namespace cachalot {
namespace {

constexpr int64_t kInputs = 4;
constexpr int kTile = 4, kLeast = 8;

// Row and tile are told apart by the sign. Row r of the product is x = r + 1 in all its inputs.
void prepare_row(const float* x_K, int64_t K, void* row) noexcept {
  for (int64_t k = 0; k < K; ++k) static_cast<float*>(row)[k] = x_K[k];
}
void prepare_in_tile(const float* x_K, int64_t K, int row, void* tile) noexcept {
  for (int64_t k = 0; k < K; ++k) static_cast<float*>(tile)[k * kTile + row] = -x_K[k];
}
void multiply_rows(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                   float* y, int64_t y_stride, bool accumulate) noexcept {
  EXPECT_FALSE(accumulate);
  EXPECT_EQ(K, kInputs);
  for (int64_t m = 0; m < rows; ++m)
    for (int n = 0; n < used; ++n)
      y[m * y_stride + n] = *reinterpret_cast<const float*>(static_cast<const std::byte*>(x) + m * x_stride_bytes) *
                            static_cast<const float*>(panel)[n];
}
void multiply_tiles(const void* x, int64_t rows, const void* panels, int64_t K, int used, float* y,
                    int64_t y_stride) noexcept {
  for (int64_t m = 0; m < rows; ++m)
    for (int n = 0; n < used; ++n)
      y[m * y_stride + n] = static_cast<const float*>(x)[m / kTile * kTile * K + m % kTile] *
                            static_cast<const float*>(panels)[n / 2 * 2 * K + n % 2];
}

constexpr MatmulKernel kKernel = {.weights = DType::f32,
                                  .inputs = DType::f32,
                                  .columns = 2,
                                  .unit_inputs = 1,
                                  .block_inputs = 1,
                                  .by_row = {.prepare = prepare_row, .multiply = multiply_rows},
                                  .by_tile = {.rows = kTile,
                                              .least_rows = kLeast,
                                              .panels = 3,
                                              .prepare = prepare_in_tile,
                                              .multiply = multiply_tiles},
                                  .pack = nullptr};

// The product of `rows` rows with weights 1, 2, … and how many of them took tiles.
int rows_in_tiles(int64_t rows, int64_t outputs) {
  const int64_t panels = (outputs + 1) / 2, stride = outputs + 1;
  std::vector<float> weights(static_cast<size_t>(panels * 2 * kInputs), -1000.0f);
  for (int64_t n = 0; n < outputs; ++n) weights[n / 2 * 2 * kInputs + n % 2] = static_cast<float>(n + 1);
  std::vector<std::byte> inputs(static_cast<size_t>(kKernel.inputs_bytes(rows, kInputs)));
  for (int64_t r = rows - 1; r >= 0; --r) {
    const std::vector<float> x(kInputs, static_cast<float>(r + 1));
    kKernel.prepare(x.data(), kInputs, r, rows, inputs.data());
  }
  std::vector<float> y(static_cast<size_t>(rows * stride), 77.0f);
  kKernel.multiply(
      inputs.data(), rows,
      {reinterpret_cast<const std::byte*>(weights.data()), kKernel.panel_bytes(kInputs), kInputs, outputs}, y.data(),
      stride);
  int tiled = 0;
  for (int64_t r = 0; r < rows; ++r) {
    const bool in_tile = y[r * stride] < 0;
    if (in_tile) { EXPECT_EQ(r, tiled) << "tiles come first"; }
    tiled += in_tile;
    for (int64_t n = 0; n < outputs; ++n)
      EXPECT_EQ(y[r * stride + n], static_cast<float>((in_tile ? -1 : 1) * (r + 1) * (n + 1)));
    EXPECT_EQ(y[r * stride + outputs], 77.0f) << "wrote past the outputs";
  }
  return tiled;
}

TEST(MatmulKernel, TakesTilesForManyRowsAndRowByRowWhatFillsLessThanHalfOfOne) {
  for (const int64_t outputs : {1, 2, 5})
    for (int64_t rows = 1; rows <= 20; ++rows) {
      SCOPED_TRACE(std::to_string(rows) + " rows, " + std::to_string(outputs) + " outputs");
      const int64_t rest = rows % kTile;
      const int64_t want = rows < kLeast ? 0 : 2 * rest >= kTile ? rows : rows - rest;
      EXPECT_EQ(rows_in_tiles(rows, outputs), want);
      EXPECT_EQ(kKernel.good_panels(rows), want > 0 ? 3 : 1);
    }
}

}  // namespace
}  // namespace cachalot
