// The arithmetic of one instruction set, as a table of functions. Everything here is noexcept, allocates nothing,
// starts no threads and knows no model words. Definitions in f64: reference.h. Chosen once by dispatch.cpp.
//
// Invariance: one output number is one chain of operations whose order depends on nothing but the packed order of k.
// So a row's result is bit-identical alone or among others, whole or cut at any k where `accumulate` continues it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "tensor/dtype.h"

namespace cachalot {

// Stored rows of weights, as a panel is made of them.
struct PanelRows {
  const void* w;  // codes or numbers of the kernel's type; row r starts at w + r * w_stride_bytes, any alignment
  int64_t w_stride_bytes;
  int rows;  // 1 ≤ rows ≤ columns
  int64_t K;
  const float* factors;  // row r's factor of block b is factors[r * factor_stride + b]; unused by plain types
  int64_t factor_stride;
};

// Neighbouring panels of a packed matrix, or the same slice of k of each of them.
struct PanelSpan {
  const std::byte* first;  // panel, at the k where the slice starts
  int64_t stride_bytes;    // from one panel to the next
  int64_t K;               // inputs of the slice: whole blocks, except at the end of the row
  int64_t outputs;         // that exist: all columns of the panels, but perhaps of the last one
};

// The two micro-kernels that MatmulKernel::prepare() and multiply() are made of; who multiplies need not know them.
//
// Row by row: inputs lie one row after the other and meet one panel. GEMV, and GEMM wherever the other is missing.
struct RowMicroKernel {
  // Writes one row of K f32 inputs in the form that multiply() reads: K of type `inputs`, and a zero after an odd K.
  void (*prepare)(const float* x_K, int64_t K, void* row) noexcept;

  // y[m][0, used) for m < rows: from 0, or onward from what y holds when `accumulate`.
  //   x        prepared rows, x_stride_bytes apart; K of them are used, whole blocks except at the end of the row
  //   panel    the packed panel, advanced by the caller to the k where this part starts
  //   used     outputs of this panel that exist, 1 ≤ used ≤ columns; nothing is written past them
  //   y        row m starts at y + m * y_stride
  void (*multiply)(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                   float* y, int64_t y_stride, bool accumulate) noexcept;
};

// Tile by tile, where the instruction set has a way of its own for many rows of quantized weights: rows of inputs are
// packed side by side in tiles, as GEMM packs its left matrix, and meet a few panels at once.
struct TileMicroKernel {
  int rows = 0;        // of a tile; 0 where there is no such way
  int least_rows = 0;  // fewer of them are better off row by row
  int panels = 1;      // a good count of panels for one call

  // As RowMicroKernel::prepare(), for row `row` of a tile, which takes the input_bytes of its rows.
  void (*prepare)(const float* x_K, int64_t K, int row, void* tile) noexcept = nullptr;

  // As RowMicroKernel::multiply() from 0 and with the same bits, for rows of tiles, the last of which need not be
  // filled, but is read; and for `used` outputs of as many neighbouring whole panels as it takes.
  void (*multiply)(const void* x, int64_t rows, const void* panels, int64_t K, int used, float* y,
                   int64_t y_stride) noexcept = nullptr;
};

// Matrix product with one weight format, y[m][n] = sum over k of x[m][k] * w[n][k]. For every format, instruction set
// and number of rows: prepare() each row of x, then multiply().
//
// Packed weights are panels of `columns` outputs n: a panel stores k in units of 32 bits (f32: one k; bf16: the pair
// k, k + 1 with k in the low half) as [unit][columns]. Missing outputs and inputs that fill up the last unit are
// zeros. A panel of K inputs has panel_bytes(K) bytes, 64-byte aligned. The same panels serve one row and many.
//
// A coded format multiplies w[n][k] = factor[n][b] * code[n][k] for all k of block b, block_inputs of them. Its
// panels hold per block [columns] factors in f32 and then the units of its codes (f8_e4m3: four codes k … k + 3). The
// order of the codes within a few neighbouring units, and a power of two that decoding leaves to the factor, are the
// instruction set's own. One output is then: from 0, or from what y holds, and for each block in ascending order
// y = fma(factor, c, y), where c is the block's chain over x * code from 0.
//
// A quantized format (GGUF's blocks of integer codes) multiplies with inputs that prepare() rounds to 8 bits, a scale
// per group of inputs. Its panels take as many bytes as the rows in the file: codes, scales and minimums are the
// file's own, in another order. K is a multiple of the format's block. Layout and definition: generic/quant_matmul.h.
struct MatmulKernel {
  DType weights;         // how panels hold w
  DType inputs;          // f32, bf16 or i8: what prepare() makes of x
  int columns;           // outputs per panel
  int unit_inputs;       // inputs per unit of 32 bits
  int block_inputs;      // K may be cut at its multiples only; in a coded format they share a factor
  int factor_bytes = 0;  // of a coded format, per output and block
  int group_inputs = 0;  // of i8 inputs: so many share a scale
  int group_bytes = 0;   // and take so many bytes, scale and all

  RowMicroKernel by_row;
  TileMicroKernel by_tile = {};

  // Packs a panel; where K fills no whole unit, the rows are read up to K only.
  void (*pack)(const PanelRows& rows, void* panel) noexcept;
  // Of a quantized format: output `column` of a panel as numbers, as dequantize() of tensor/quant_blocks.h rounds
  // them.
  void (*unpack)(const void* panel, int64_t K, int column, float* w_K) noexcept = nullptr;
  // Of a quantized format: rest_K = x_K less what prepare() makes of it, within 2^-23 of the largest of each group.
  void (*rounding_rest)(const float* x_K, int64_t K, float* rest_K) noexcept = nullptr;

  // Memory for `rows` rows of inputs.
  int64_t inputs_bytes(int64_t rows, int64_t K) const {
    const int64_t most = by_tile.rows == 0 ? rows : (rows + by_tile.rows - 1) / by_tile.rows * by_tile.rows;
    return most * input_bytes(K);
  }
  // Writes row `row` of the `rows` rows that will be multiplied: all of them must be written, in any order.
  void prepare(const float* x_K, int64_t K, int64_t row, int64_t rows, std::byte* inputs) const {
    const int64_t in_tile = row < tiled_rows(rows) ? row % by_tile.rows : -1;
    if (in_tile >= 0)
      by_tile.prepare(x_K, K, static_cast<int>(in_tile), inputs + (row - in_tile) * input_bytes(K));
    else
      by_row.prepare(x_K, K, inputs + row * input_bytes(K));
  }
  // y[rows][outputs], rows y_stride apart, of all inputs of the panels; nothing is written past the outputs.
  void multiply(const std::byte* inputs, int64_t rows, const PanelSpan& w, float* y, int64_t y_stride) const {
    const int64_t tiled = tiled_rows(rows), bytes = input_bytes(w.K);
    if (tiled > 0) by_tile.multiply(inputs, tiled, w.first, w.K, static_cast<int>(w.outputs), y, y_stride);
    if (tiled == rows) return;
    inputs += tiled * bytes, y += tiled * y_stride;
    const std::byte* panel = w.first;
    for (int64_t n = 0; n < w.outputs; n += columns, panel += w.stride_bytes) {
      const auto used = static_cast<int>(w.outputs - n < columns ? w.outputs - n : columns);
      by_row.multiply(inputs, bytes, rows - tiled, panel, w.K, used, y + n, y_stride, false);
    }
  }
  // How many neighbouring panels are best multiplied in one call.
  int64_t good_panels(int64_t rows) const { return tiled_rows(rows) > 0 ? by_tile.panels : 1; }

  bool quantized() const { return group_inputs > 0; }
  int64_t units(int64_t K) const { return (K + unit_inputs - 1) / unit_inputs; }
  int64_t panel_bytes(int64_t K) const {
    if (quantized()) return columns * row_bytes(weights, K);
    return columns * (4 * units(K) + (K + block_inputs - 1) / block_inputs * factor_bytes);
  }
  int64_t input_bytes(int64_t K) const {
    if (quantized()) return K / group_inputs * group_bytes;
    return (K + 1) / 2 * 2 * (inputs == DType::f32 ? 4 : 2);
  }

 private:
  // Of `rows` rows, the first so many take tiles.
  int64_t tiled_rows(int64_t rows) const {
    if (by_tile.rows == 0 || rows < by_tile.least_rows) return 0;
    const int64_t rest = rows % by_tile.rows;
    return 2 * rest >= by_tile.rows ? rows : rows - rest;
  }
};

using QuantizedKernels = std::array<MatmulKernel, 8>;  // q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k

struct KernelTable {
  const char* isa;            // "scalar", "avx2", "avx512", "avx512_bf16", "avx512_amx"
  bool (*usable)() noexcept;  // does this processor have it

  MatmulKernel matmul_f32;   // f32 weights, f32 inputs: a chain of fma per output (scalar: multiply, add)
  MatmulKernel matmul_bf16;  // bf16 weights; inputs bf16 where the processor multiplies bf16 pairs, else f32
  MatmulKernel
      matmul_fp8;  // e4m3 codes (none a NaN) in blocks of 128, exact as f32 and bf16; inputs as matmul_bf16's
  QuantizedKernels matmul_quantized;

  AttentionKernel attention_f32, attention_bf16;  // for panels of matmul_f32 and matmul_bf16
  CodedCacheKernel coded_cache;                   // to panels of matmul_bf16

  // out[unit][n], n < columns: the 32-bit units of `rows` ≤ columns rows of stored weights, transposed into a panel;
  // columns ≥ rows are zero-filled. Row r starts at w + r * w_stride_bytes, which need not be aligned.
  void (*pack_panel)(const void* w, int64_t w_stride_bytes, int rows, int64_t units, int columns, void* out) noexcept;

  void (*bf16_to_f32)(const uint16_t* x, int64_t n, float* y) noexcept;  // exact
  void (*f32_to_bf16)(const float* x, int64_t n, uint16_t* y) noexcept;  // to nearest even, NaN stays NaN

  // y_D = x_D * rsqrt(mean(x_D²) + eps) * gain_D. y may be x.
  void (*rms_norm)(const float* x_D, const float* gain_D, float eps, int64_t D, float* y_D) noexcept;
  // Rotates pairs by angles given as cos_i, sin_i (i < R/2, two arrays). y must not be x.
  //   halves: pair (x_i, x_{i+R/2});  pairs: (x_{2i}, x_{2i+1}), results at the same places.
  void (*rope_halves)(const float* x_R, const float* cos, const float* sin, int64_t R, float* y_R) noexcept;
  void (*rope_pairs)(const float* x_R, const float* cos, const float* sin, int64_t R, float* y_R) noexcept;
  // y = silu(gate) * up, silu(z) = z / (1 + e^-z). y may be gate or up.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y) noexcept;
  // y = x / (1 + e^(-beta x)), Swish. y may be x.
  void (*silu)(const float* x, float beta, int64_t n, float* y) noexcept;
  // y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, the exact form of GELU. y may be x.
  void (*gelu)(const float* x, int64_t n, float* y) noexcept;
  // y = a * b. y may be a or b.
  void (*multiply)(const float* a, const float* b, int64_t n, float* y) noexcept;
  // y = a + b. y may be a or b.
  void (*add)(const float* a, const float* b, int64_t n, float* y) noexcept;
  // y *= factor.
  void (*scale)(float* y, int64_t n, float factor) noexcept;

  // One step of an online softmax, which runs over blocks of keys. Scores of keys outside [begin, end) take no part.
  //   score   in: q·k of n keys; out: exp(scale * score - new maximum) inside [begin, end), 0 elsewhere
  //   max     running maximum of scale * score (-inf before the first block); updated
  //   sum     running sum of the exponentials; multiplied by the returned factor, then the block's are added
  // Returns exp(old max - new max), by which the caller scales what it has accumulated (0 before the first block).
  // An empty range changes neither max nor sum and returns 1. A NaN score makes the sum NaN.
  float (*softmax_block)(float* score, int64_t n, int64_t begin, int64_t end, float scale, float* max,
                         float* sum) noexcept;

  // Probes of this machine's limits, for `bench`: they do nothing but the work.
  // read_bytes reads all of `memory` once, in order, and returns a mix of it so that it happens.
  uint64_t (*read_bytes)(const void* memory, size_t bytes) noexcept;
  float (*fma_loop)(int64_t iterations) noexcept;   // iterations of `fma_flops` floating-point operations, f32
  float (*bf16_loop)(int64_t iterations) noexcept;  // likewise with bf16 dot products; nullptr where there are none
  float (*byte_loop)(int64_t iterations) noexcept;  // and with the byte products of matmul_quantized
  int64_t fma_flops, bf16_flops, byte_ops;
};

// Every table that was compiled in, best first; `usable()` says whether this processor runs it.
std::span<const KernelTable* const> all_kernels();

// The best usable table, or the one that the environment variable CACHALOT_ISA names. Throws Error when that one is
// unknown or not usable here.
const KernelTable& best_kernels();

}  // namespace cachalot
