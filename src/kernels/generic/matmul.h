// y[m][n] = sum over k of x[m][k] * w[n][k] for one packed panel of columns n; see MatmulKernel in table.h.
//
// One output is one lane of one accumulator, which takes k in ascending order: that makes a row's result the same
// whatever rows it shares a block with and wherever k was cut.
//
// Error bound against f64, per output, e = 2^-24: f32 weights (K + 1) e sum |x w|, twice that where fma() rounds
// twice; bf16 weights the same, counted from the inputs as prepared.
#pragma once

#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

// How a weight format multiplies. A unit is 32 bits of every column; it is taken in `kParts` steps, each of which
// uses the same piece of every row's inputs: that keeps few weights in registers at a time.
struct F32Panels {
  static constexpr int kParts = 1, kInputsPerUnit = 1;
  template <int part>
  static F32x weights(F32x unit) {
    return unit;
  }
  static F32x step(F32x sum, F32x x, F32x w) { return fma(x, w, sum); }
};

// bf16 pairs widened to f32: first k, then k + 1.
struct WidenedBf16Panels {
  static constexpr int kParts = 2, kInputsPerUnit = 2;
  template <int part>
  static F32x weights(F32x unit) {
    return part == 0 ? widen_low(unit) : widen_high(unit);
  }
  static F32x step(F32x sum, F32x x, F32x w) { return fma(x, w, sum); }
};

struct TileArgs {
  const char* x;
  int64_t x_stride_bytes;
  const float* panel;
  int64_t units;
  int used;
  float* y;
  int64_t y_stride;
  bool accumulate;
};

constexpr int kColumns = kTileVectors * kLanes;

// One part of one unit for all rows. Inputs are 32 bits each: an f32, or a pair of bf16.
typedef float Input __attribute__((may_alias));
template <class Panels, int part, int rows, int vectors>
static void step(F32x (&sums)[rows][vectors], const char* x, int64_t x_stride_bytes, const float* unit) {
  F32x w[vectors];
  for (int v = 0; v < vectors; ++v) w[v] = Panels::template weights<part>(load(unit + v * kLanes));
  for (int r = 0; r < rows; ++r) {
    const F32x x_r = set(*reinterpret_cast<const Input*>(x + r * x_stride_bytes + part * 4));
    for (int v = 0; v < vectors; ++v) sums[r][v] = Panels::step(sums[r][v], x_r, w[v]);
  }
}

// `rows` rows of the tile, held in registers from the first k to the last.
template <class Panels, int rows>
static void block(const TileArgs& a) {
  F32x sums[rows][kTileVectors];
  const int full = a.used / kLanes, tail = a.used % kLanes;
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kTileVectors; ++v) {
      const float* y = a.y + r * a.y_stride + v * kLanes;
      sums[r][v] = !a.accumulate ? set(0) : v < full ? load(y) : v == full && tail ? load(y, tail) : set(0);
    }

  const char* x = a.x;
  const float* panel = a.panel;
  for (int64_t u = 0; u < a.units; ++u) {
    step<Panels, 0>(sums, x, a.x_stride_bytes, panel);
    if constexpr (Panels::kParts > 1) step<Panels, 1>(sums, x, a.x_stride_bytes, panel);
    x += Panels::kParts * 4;
    panel += kColumns;
  }

  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < kTileVectors; ++v) {
      float* y = a.y + r * a.y_stride + v * kLanes;
      if (v < full) store(y, sums[r][v]);
      if (v == full && tail) store(y, sums[r][v], tail);
    }
}

template <class Panels, int most>
static void block_of(int rows, const TileArgs& a) {
  if constexpr (most > 1) {
    if (rows < most) return block_of<Panels, most - 1>(rows, a);
  }
  block<Panels, most>(a);
}

// Many rows pass over the panel again and again, so it is cut into parts that stay in the second cache meanwhile
// (sums wait in y). Rows are taken in equal blocks of at most kTileRows: a last block of one row would cost as much
// as a full one.
constexpr int64_t kPartUnits = (int64_t{256} << 10) / (kColumns * 4);

template <class Panels>
static void tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                 float* y, int64_t y_stride, bool accumulate) noexcept {
  const int64_t units = (K + Panels::kInputsPerUnit - 1) / Panels::kInputsPerUnit;
  const int64_t part = rows > kTileRows ? kPartUnits : units;
  for (int64_t u = 0; u < units; u += part) {
    TileArgs a = {.x = static_cast<const char*>(x) + u * Panels::kParts * 4,
                  .x_stride_bytes = x_stride_bytes,
                  .panel = static_cast<const float*>(panel) + u * kColumns,
                  .units = units - u < part ? units - u : part,
                  .used = used,
                  .y = y,
                  .y_stride = y_stride,
                  .accumulate = accumulate || u > 0};
    for (int64_t left = rows; left > 0;) {
      const int64_t blocks = (left + kTileRows - 1) / kTileRows;
      const int now = static_cast<int>((left + blocks - 1) / blocks);
      block_of<Panels, kTileRows>(now, a);
      a.x += now * x_stride_bytes, a.y += now * y_stride, left -= now;
    }
  }
}

static void prepare_f32(const float* x_K, int64_t K, void* out) noexcept {
  __builtin_memcpy(out, x_K, static_cast<size_t>(K) * 4);
  if (K % 2) static_cast<float*>(out)[K] = 0;
}

}  // namespace
}  // namespace cachalot
