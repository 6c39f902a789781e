// The matrix product with coded weights: y[m][n] = sum over blocks b of factor[n][b] * (sum over k of b of
// x[m][k] * code[n][k]); panels in MatmulKernel of table.h. A format is a class like E4m3Panels below.
//
// A few rows decode in registers and read memory in order. More of them decode a block once into a plain panel on the
// stack, small enough for the first two caches, and pass over that. Both take k in the same order with the same
// operations, so a row's result does not depend on its company.
//
// Error bound against f64, per output, e = 2^-24, with the codes exact in the type that multiplies: the chain of a
// block and the sum over the B blocks, (min(K, 128) + B + 1) e sum |x factor code|, twice that where fma() rounds
// twice.
#pragma once

#include "kernels/generic/matmul.h"
#include "kernels/generic/pack.h"
#include "kernels/simd/primitives.h"
#include "kernels/table.h"

namespace cachalot {
namespace {

constexpr int kBlockInputs = 128;
constexpr int kCodedColumns = 64;  // with fewer the chain of one row would wait for its own sums (docs/log.md)
static_assert(kCodedColumns % kColumns == 0);

// How many vectors of outputs a few rows take at once: all of a panel's as long as the sums stay in registers.
constexpr int few_rows_vectors(int rows) {
  int vectors = kCodedColumns / kLanes;
  while (rows * vectors > kTileRows * kTileVectors) vectors /= 2;
  return vectors;
}

// Four e4m3 codes per unit, widened to f32.
struct E4m3Panels {
  using Plain = F32Panels;                              // how a decoded block multiplies
  static constexpr int kParts = 4, kInputsPerUnit = 4;  // steps and inputs per unit
  static constexpr int kFewRows = kTileRows;            // so many rows are faster without the plain panel
  static constexpr float kCodeScale = 0x1p-8f;          // weights() gives the codes times this
  template <int part>
  static F32x weights(const float* units) {
    return e4m3<part>(units);
  }
  static F32x step(F32x sum, F32x x, F32x w) { return fma(x, w, sum); }
  static F32x arrange(F32x units) { return arrange_e4m3(units); }  // of kLanes columns, in the order of a panel
};

// One block of one panel, and where its share of the results goes.
struct CodedBlock {
  const char* x;
  int64_t x_stride_bytes;
  const float *factors, *codes;
  int inputs;
  int used;
  float* y;
  int64_t y_stride;

  // The same for the columns from `column` on.
  CodedBlock from(int column) const {
    CodedBlock b = *this;
    b.factors += column, b.codes += column, b.y += column, b.used -= column;
    return b;
  }
};

// y = fma(factor, sum, y). Here and below loops over sums are unrolled by force: left to itself, gcc 12 does it too
// late to keep them in registers.
template <int rows, int vectors>
static void add_scaled(const F32x (&sums)[rows][vectors], const CodedBlock& b) {
  const float* factors = b.factors;
  float* y = b.y;
  const int64_t y_stride = b.y_stride;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      store(y + r * y_stride + v * kLanes,
            fma(load(factors + v * kLanes), sums[r][v], load(y + r * y_stride + v * kLanes)));
}

// Calls work() with a block of `columns` columns, all of which exist: those that do not are given a place of their
// own.
template <int rows, int columns, class Work>
static void with_all_columns(const CodedBlock& b, Work work) {
  if (b.used >= columns) return work(b);
  float y[rows][columns] = {};
  const auto bytes = static_cast<size_t>(b.used) * sizeof(float);
  for (int r = 0; r < rows; ++r) __builtin_memcpy(y[r], b.y + r * b.y_stride, bytes);
  CodedBlock all = b;
  all.y = y[0], all.y_stride = columns;
  work(all);
  for (int r = 0; r < rows; ++r) __builtin_memcpy(b.y + r * b.y_stride, y[r], bytes);
}

// One vector of a unit for all rows: its parts in ascending order.
template <class Format, int part, int rows, int vectors>
static void coded_step(F32x (&sums)[rows][vectors], int v, const char* x, int64_t x_stride_bytes,
                       const float* units) {
  const F32x w = Format::template weights<part>(units);
  for (int r = 0; r < rows; ++r) {
    const F32x x_r = set(*reinterpret_cast<const Input*>(x + r * x_stride_bytes + part * 4));
    sums[r][v] = Format::step(sums[r][v], x_r, w);
  }
  if constexpr (part + 1 < Format::kParts) coded_step<Format, part + 1>(sums, v, x, x_stride_bytes, units);
}

// A whole block for a few rows and vectors * kLanes columns.
template <class Format, int rows, int vectors>
static void few_rows(const CodedBlock& b) {
  F32x sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = set(0);
  const char* x = b.x;
  const float* codes = b.codes;
  for (int k = 0; k < kBlockInputs; k += Format::kInputsPerUnit, codes += kCodedColumns, x += Format::kParts * 4)
    for (int v = 0; v < vectors; ++v) coded_step<Format, 0>(sums, v, x, b.x_stride_bytes, codes + v * kLanes);
  add_scaled(sums, b);
}

template <class Format, int most>
static void few_rows_of(int rows, const CodedBlock& b) {
  if constexpr (most > 1) {
    if (rows < most) return few_rows_of<Format, most - 1>(rows, b);
  }
  constexpr int vectors = few_rows_vectors(most), columns = vectors * kLanes;
  for (int column = 0; column < b.used; column += columns)
    with_all_columns<most, columns>(b.from(column), few_rows<Format, most, vectors>);
}

// Decodes kColumns columns of a block into a panel of its Plain form: [input or pair][kColumns].
template <class Format>
static void decode(const CodedBlock& b, float* plain) {
  const float* codes = b.codes;
  for (int k = 0; k < b.inputs; k += Format::kInputsPerUnit, codes += kCodedColumns)
    for (int v = 0; v < kTileVectors; ++v) {
      const float* units = codes + v * kLanes;
      float* to = plain + k / Format::kInputsPerUnit * Format::kParts * kColumns + v * kLanes;
      store(to, Format::template weights<0>(units));
      store(to + kColumns, Format::template weights<1>(units));
      if constexpr (Format::kParts == 4) {
        store(to + 2 * kColumns, Format::template weights<2>(units));
        store(to + 3 * kColumns, Format::template weights<3>(units));
      }
    }
}

template <class Plain, int rows>
static void scaled_block(const CodedBlock& b, const float* plain) {
  F32x sums[rows][kTileVectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) sums[r][v] = set(0);
  const char* x = b.x;
  for (int k = 0; k < b.inputs; k += Plain::kInputsPerUnit, x += 4, plain += kColumns)
    step<Plain, 0>(sums, x, b.x_stride_bytes, plain);
  add_scaled(sums, b);
}

template <class Plain, int most>
static void scaled_block_of(int rows, const CodedBlock& b, const float* plain) {
  if constexpr (most > 1) {
    if (rows < most) return scaled_block_of<Plain, most - 1>(rows, b, plain);
  }
  with_all_columns<most, kColumns>(b, [&](const CodedBlock& all) { scaled_block<Plain, most>(all, plain); });
}

// kColumns columns of a block for all rows, which are taken in equal groups as in tile().
template <class Format>
static void many_rows(CodedBlock b, int64_t rows) {
  alignas(64) float plain[kBlockInputs / Format::kInputsPerUnit * Format::kParts * kColumns];
  decode<Format>(b, plain);
  for (int64_t left = rows; left > 0;) {
    const int64_t groups = (left + kTileRows - 1) / kTileRows;
    const int now = static_cast<int>((left + groups - 1) / groups);
    scaled_block_of<typename Format::Plain, kTileRows>(now, b, plain);
    b.x += now * b.x_stride_bytes, b.y += now * b.y_stride, left -= now;
  }
}

template <class Format>
static void coded_tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                       float* y, int64_t y_stride, bool accumulate) noexcept {
  const auto* at = static_cast<const float*>(panel);
  if (!accumulate)
    for (int64_t r = 0; r < rows; ++r)
      __builtin_memset(y + r * y_stride, 0, static_cast<size_t>(used) * sizeof(float));
  for (int64_t k = 0; k < K; k += kBlockInputs) {
    const int inputs = static_cast<int>(K - k < kBlockInputs ? K - k : kBlockInputs);
    const CodedBlock b = {.x = static_cast<const char*>(x) + k / Format::kInputsPerUnit * Format::kParts * 4,
                          .x_stride_bytes = x_stride_bytes,
                          .factors = at,
                          .codes = at + kCodedColumns,
                          .inputs = inputs,
                          .used = used,
                          .y = y,
                          .y_stride = y_stride};
    if (rows <= Format::kFewRows && inputs == kBlockInputs)
      few_rows_of<Format, Format::kFewRows>(static_cast<int>(rows), b);
    else
      for (int column = 0; column < used; column += kColumns) many_rows<Format>(b.from(column), rows);
    at += kCodedColumns * (1 + (inputs + Format::kInputsPerUnit - 1) / Format::kInputsPerUnit);
  }
}

// The codes of one block for kLanes columns of a panel, `rows` of which exist; as load_square() and pack_panel() do
// it.
template <class Format>
static void pack_codes(const char* w, int64_t w_stride_bytes, int rows, int inputs, bool streamed, float* codes) {
  const int whole = inputs / 4, rest = inputs % 4;
  for (int u = 0; u < whole; u += kLanes) {
    const int wide = whole - u < kLanes ? whole - u : kLanes;
    F32x square[kLanes];
    load_square(w + u * 4, w_stride_bytes, rows, wide, square);
    for (int i = 0; i < wide; ++i, codes += kCodedColumns) {
      if (streamed)
        stream(codes, Format::arrange(square[i]));
      else
        store(codes, Format::arrange(square[i]));
    }
  }
  if (rest == 0) return;
  uint32_t last[kLanes] = {};
  for (int n = 0; n < rows; ++n)
    __builtin_memcpy(&last[n], w + n * w_stride_bytes + whole * 4, static_cast<size_t>(rest));
  store(codes, Format::arrange(load(last)));
}

template <class Format>
static void pack_coded(const PanelRows& r, void* panel) noexcept {
  const bool aligned = reinterpret_cast<uintptr_t>(panel) % sizeof(F32x) == 0;
  const bool streamed = aligned && r.K * kCodedColumns >= kStreamFromBytes;
  for (int n = 0; n < kCodedColumns; n += kLanes) {
    const int rows = r.rows < n ? 0 : r.rows - n < kLanes ? r.rows - n : kLanes;
    const char* w = static_cast<const char*>(r.w) + (rows > 0 ? n * r.w_stride_bytes : 0);
    auto* out = static_cast<float*>(panel) + n;
    for (int64_t k = 0; k < r.K; k += kBlockInputs) {
      const int inputs = static_cast<int>(r.K - k < kBlockInputs ? r.K - k : kBlockInputs);
      for (int i = 0; i < kLanes; ++i)
        out[i] = i < rows ? r.factors[(n + i) * r.factor_stride + k / kBlockInputs] / Format::kCodeScale : 0;
      pack_codes<Format>(w + k, r.w_stride_bytes, rows, inputs, streamed, out + kCodedColumns);
      out += kCodedColumns * (1 + (inputs + Format::kInputsPerUnit - 1) / Format::kInputsPerUnit);
    }
  }
  if (streamed) finish_streams();
}

}  // namespace
}  // namespace cachalot
