// The matrix product with weights in GGUF's blocks of integer codes and inputs rounded to 8 bits; panels and inputs
// in MatmulKernel of table.h and quant_formats.h. Per output, with block b of the inputs:
//
//   n[b] = sum over k of b of (code[k] - zero) * q[k],   s[b] = sum over k of b of q[k]
//
// A block with a factor of its own is a group of inputs g by itself; where the file's scales and minimums are
// integers, times one factor for all, a group has several blocks:
//
//   t = factor * n[b], and with minimums + addend * s[b]
//   t = factor * (sum of scale[b] * n[b]), and with minimums + addend * (sum of minimum[b] * s[b])
//   y = fma(scale[g], t, y), groups ascending
//
// Sums of integers are exact in any order; t and y are chains of fma. Neither depends on which rows share a call, so
// a row's result does not depend on its company.
//
// The tricks. Codes are unsigned and inputs signed, as the processors' byte products want them; the zero point is
// paid by the row: its sums start from -zero * s, computed once when the row is prepared. Lanes are outputs, so four
// inputs of a row are one broadcast from memory and nothing is ever added across lanes. Sums stay in registers for a
// block, t and y pass through the first cache: with 32 inputs to a block that is one operation in ten. Pairs of
// minimums and of sums of inputs are 16 bits each, so that two products are one instruction.
//
// A few rows take the codes apart in registers and read memory in order. More of them take a chunk apart once, to
// bytes on the stack, and pass over that.
//
// Error bound against f64 of the same codes, scales and prepared inputs, e = 2^-24, B blocks and G groups in a row:
// (B/G * (mins ? 2 : 1) + G + 2) e sum |x| (|factor (code - zero)| + |addend|), twice that where fma() rounds twice.
#pragma once

#include "kernels/generic/quant_formats.h"
#include "kernels/simd/primitives.h"
#include "kernels/table.h"

namespace cachalot {
namespace {

constexpr int kQuantRows = kRegisters == 32 ? 8 : 4;  // at once
constexpr int64_t kRowsAtOnce = 192;                  // of one pass over a panel
// Prefetched so many bytes ahead, to the second cache and then to the first; docs/log.md.
constexpr int64_t kPrefetchAhead = 8192, kPrefetchAheadNear = 3072;

// A chunk of a panel with some rows: `runs` are packed, or taken apart to bytes; the rest is ChunkScales.
struct QuantChunk {
  const char* x;
  int64_t x_stride_bytes;
  const char* runs;
  const float *factors, *addends;
  const int32_t *scales, *minimums;
  int inputs;
  const char* ahead;  // what lies kPrefetchAhead further on

  // From column `columns` on.
  template <class Format>
  void advance(int columns) {
    runs += columns * 4, factors += columns;
    if (Format::kMins) addends += columns;
    if (Format::kIntegerScales) scales += columns;
    if (ChunkScales<Format>::kPairs) minimums += columns;
  }
};

// Units [unit, end) of a run, for all rows; meanwhile it prefetches their part of the `share_bytes` at `ahead`.
// Inlined and unrolled by force, here and below: left to itself gcc 12 keeps the sums in memory.
template <int bits, class Dot, int share_bytes, bool in_place, int unit, int end, int rows, int vectors>
[[gnu::always_inline]] static inline void add_dots(I32x (&sums)[rows][vectors], const int8_t* x,
                                                   int64_t x_stride_bytes, const char* run, const char* ahead) {
  I32x w[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) w[v] = codes_of<bits, unit, in_place>(run + v * kLanes * 4);
  constexpr int kLines = (share_bytes + 63) / 64, kMost = in_place ? 0xf0 : (1 << bits) - 1;
#pragma GCC unroll 8
  for (int line = unit * kLines / 8; line < (unit + 1) * kLines / 8; ++line) {
    prefetch_line_after<2>(w[line % vectors], ahead + 64 * line);
    prefetch_line_after<1>(w[line % vectors], ahead + 64 * line - kPrefetchAhead + kPrefetchAheadNear);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const I32x x_r = repeat_unit(x + r * x_stride_bytes + 4 * unit);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = Dot::template add<kMost>(sums[r][v], w[v], x_r);
  }
  if constexpr (unit + 1 < end)
    add_dots<bits, Dot, share_bytes, in_place, unit + 1, end>(sums, x, x_stride_bytes, run, ahead);
}

// Bytes of a run's share of its chunk, header included, in some columns.
template <class Format>
constexpr int share_of_run(int columns) {
  return Format::kStoredBytes * 32 * columns / Format::kStoredInputs;
}

// The integer sums of one block, of `count` units from unit `first` of its run on: block b of its group, whose codes
// are `codes` in the first row. A row alone leaves high halves of bytes in their place, where they are 16 times as
// large, and adds them apart: a shift less for each, and sums that do not wait for the other half's. (They would not
// fit pairs of bytes.)
template <class Format, int bits, class Dot, int first, int count, int rows, int vectors>
[[gnu::always_inline]] static inline void block_sums(const QuantChunk& c, const char* x, const int8_t* codes,
                                                     const char* run, int b, I32x (&sums)[rows][vectors]) {
  using Group = InputGroup<Format>;
  constexpr int kShareBytes = share_of_run<Format>(vectors * kLanes);
  constexpr bool kInPlace = rows == 1 && bits == 4 && !Dot::kPairsOfBytes;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const auto* group = reinterpret_cast<const Group*>(x + r * c.x_stride_bytes);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = Format::kMins ? I32x{} : repeat_unit(&group->start[b]);
  }
  if constexpr (!kInPlace) {
    add_dots<bits, Dot, kShareBytes, false, first, first + count>(sums, codes, c.x_stride_bytes, run, c.ahead);
  } else {
    static_assert(first == 0 && count == 8);
    I32x high[rows][vectors] = {};
    add_dots<bits, Dot, kShareBytes, false, 0, 4>(sums, codes, c.x_stride_bytes, run, c.ahead);
    add_dots<bits, Dot, kShareBytes, true, 4, 8>(high, codes, c.x_stride_bytes, run, c.ahead);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[0][v] += high[0][v] >> 4;
  }
}

// A group's sum of scale[b] * n[b], exact: in f32 where it fits, since an fma costs less than a product of integers.
template <bool fits_f32>
struct ExactSum {
  using Type = I32x;
};
template <>
struct ExactSum<true> {
  using Type = F32x;
};
template <class Format>
using ScaledSum = typename ExactSum<Format::kSumsFitF32>::Type;
static inline F32x add_scaled(F32x total, I32x n, I32x scale) {
  return fma(__builtin_convertvector(scale, F32x), __builtin_convertvector(n, F32x), total);
}
static inline I32x add_scaled(I32x total, I32x n, I32x scale) { return total + n * scale; }
static inline F32x as_f32(F32x sum) { return sum; }
static inline F32x as_f32(I32x sum) { return __builtin_convertvector(sum, F32x); }

// t of a group: of one block with a factor of its own, from n; or of blocks with integer scales, from their sum.
template <class Format, class Dot>
[[gnu::always_inline]] static inline F32x group_sum(const QuantChunk& c, const InputGroup<Format>& group, int v,
                                                    ScaledSum<Format> sum) {
  static_assert(Format::kIntegerScales || Format::kGroup == Format::kBlock);
  const F32x t = mul(load(c.factors + v * kLanes), as_f32(sum));
  if constexpr (!Format::kMins) return t;
  F32x minimums;
  if constexpr (Format::kIntegerScales) {
    I32x m = {};
#pragma GCC unroll 8
    for (int p = 0; p < InputGroup<Format>::kStarts; ++p)
      m = Dot::add_pairs(m, load_units(c.minimums + p * kQuantColumns + v * kLanes), repeat_unit(&group.start[p]));
    minimums = as_f32(m);
  } else {
    minimums = set(__builtin_bit_cast(float, group.start[0]));
  }
  return fma(load(c.addends + v * kLanes), minimums, t);
}

// A run of 32 inputs, `at` inputs into its group: the sums of its blocks, times their integer scales if they have
// any.
template <class Format, int bits, class Dot, int block = 0, int rows, int vectors>
[[gnu::always_inline]] static inline void add_run(const QuantChunk& c, const char* x, const int8_t* codes,
                                                  const char* run, int at,
                                                  ScaledSum<Format> (&total)[rows][vectors]) {
  constexpr int kUnits = Format::kBlock / 4;
  I32x sums[rows][vectors];
  block_sums<Format, bits, Dot, block * kUnits, kUnits>(c, x, codes, run, at / Format::kBlock + block, sums);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      if constexpr (Format::kIntegerScales)
        total[r][v] = add_scaled(total[r][v], sums[r][v], load_units(c.scales + block * kQuantColumns + v * kLanes));
      else
        total[r][v] = sums[r][v];
  if constexpr (block + 1 < 32 / Format::kBlock) add_run<Format, bits, Dot, block + 1>(c, x, codes, run, at, total);
}

// A chunk for `rows` rows and `vectors` * kLanes columns, whose y is [rows][kQuantColumns].
template <class Format, int bits, class Dot, int rows, int vectors>
[[gnu::noinline]] static void add_chunk(QuantChunk c, float* y) {
  using Group = InputGroup<Format>;
  F32x result[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) result[r][v] = load(y + r * kQuantColumns + v * kLanes);
  const char *x = c.x, *run = c.runs;
  const int64_t stride = c.x_stride_bytes;
  for (int k = 0; k < c.inputs; k += Format::kGroup, x += sizeof(Group)) {
    ScaledSum<Format> total[rows][vectors] = {};
#pragma GCC unroll 1  // unrolled, the compiler prefetches all of a group's memory at once, which is too much
    for (int at = 0; at < Format::kGroup; at += 32, run += bits * kRowBytes) {
      const int8_t* codes = reinterpret_cast<const Group*>(x)->codes + at;
      add_run<Format, bits, Dot>(c, x, codes, run, at, total);
      c.ahead += share_of_run<Format>(vectors * kLanes);
      if (Format::kIntegerScales) c.scales += 32 / Format::kBlock * kQuantColumns;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Group& group = *reinterpret_cast<const Group*>(x + r * stride);
        result[r][v] = fma(set(group.scale), group_sum<Format, Dot>(c, group, v, total[r][v]), result[r][v]);
      }
    if constexpr (!Format::kIntegerScales) c.factors += kQuantColumns, c.addends += Format::kMins ? kQuantColumns : 0;
    if constexpr (ChunkScales<Format>::kPairs) c.minimums += Group::kStarts * kQuantColumns;
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(y + r * kQuantColumns + v * kLanes, result[r][v]);
}

// Sums and results of so many vectors stay in registers together with what multiplies them. A row alone takes more
// columns at once: its sums would wait for themselves.
constexpr int vectors_for(int rows) { return rows <= 3 ? 4 : 2; }

template <class Format, int bits, class Dot, int most>
static void add_chunk_of(int rows, int used, QuantChunk c, float* y) {
  if constexpr (most > 1) {
    if (rows < most) return add_chunk_of<Format, bits, Dot, most - 1>(rows, used, c, y);
  }
  constexpr int kVectors = vectors_for(most), kColumnsAtOnce = kVectors * kLanes;
  for (int column = 0; column < used; column += kColumnsAtOnce, y += kColumnsAtOnce) {
    add_chunk<Format, bits, Dot, most, kVectors>(c, y);
    c.advance<Format>(kColumnsAtOnce);
    c.ahead += c.inputs / 32 * share_of_run<Format>(kColumnsAtOnce);
  }
}

// Bytes of one run, less `zero`.
template <int bits, int unit = 0>
static void take_run_apart(const char* run, char* bytes, int zero = 0) {
  const U8xWide zeros = U8xWide{} + static_cast<uint8_t>(zero);
  for (int n = 0; n < kRowBytes; n += kLanes * 4)
    store_units(bytes + unit * kRowBytes + n,
                __builtin_bit_cast(I32x, __builtin_bit_cast(U8xWide, codes_of<bits, unit>(run + n)) - zeros));
  if constexpr (unit + 1 < 8) take_run_apart<bits, unit + 1>(run, bytes, zero);
}

template <class Format, int bits, class Dot>
static void add_rows(int rows, int used, QuantChunk c, float* y) {
  for (int left = rows; left > 0;) {
    const int groups = (left + kQuantRows - 1) / kQuantRows, now = (left + groups - 1) / groups;
    add_chunk_of<Format, bits, Dot, kQuantRows>(now, used, c, y);
    c.x += now * c.x_stride_bytes, y += now * kQuantColumns, left -= now;
  }
}

// More rows than these are worth taking codes of so many bits apart beforehand: extra bits cost more than halves of
// bytes, which come free beside the products.
constexpr int apart_from_rows(int bits) { return bits == 5 || bits == 6 ? 48 : 1 << 30; }

// The runs of a chunk as bytes, less `zero`.
template <class Format>
static void take_apart(const QuantChunk& c, char* bytes, int zero = 0) {
  for (int run = 0; run < c.inputs / 32; ++run)
    take_run_apart<Format::kBits>(c.runs + run * Format::kBits * kRowBytes, bytes + run * 8 * kRowBytes, zero);
}

// In quant_pairs.h, for three or four rows at a time, of which more than five can be made.
constexpr int kLeastPairRows = 6;
template <class Format, class Dot>
static void add_rows_in_pairs(int rows, int used, const QuantChunk& chunk, float* y);

// A panel for some rows, whose y is [rows][kQuantColumns].
template <class Format, class Dot>
static void add_panel(const char* x, int64_t x_stride_bytes, int rows, const char* chunk, int64_t K, int used,
                      float* y) {
  for (int64_t k = 0; k < K; k += kChunkInputs) {
    const int inputs = static_cast<int>(K - k < kChunkInputs ? K - k : kChunkInputs);
    ChunkScales<Format> scales;
    Format::take_apart(chunk, inputs, scales);
    QuantChunk c = {.x = x,
                    .x_stride_bytes = x_stride_bytes,
                    .runs = chunk + inputs / Format::kStoredInputs * Format::kHeaderBytes * kQuantColumns,
                    .factors = scales.factors,
                    .addends = scales.addends,
                    .scales = scales.scales,
                    .minimums = scales.minimums,
                    .inputs = inputs,
                    .ahead = chunk + kPrefetchAhead};
    if (Dot::kPairsOfBytes && rows >= kLeastPairRows) {
      if constexpr (Dot::kPairsOfBytes) add_rows_in_pairs<Format, Dot>(rows, used, c, y);
    } else if (rows <= apart_from_rows(Format::kBits)) {
      add_rows<Format, Format::kBits, Dot>(rows, used, c, y);
    } else if constexpr (apart_from_rows(Format::kBits) < kRowsAtOnce && !Dot::kPairsOfBytes) {
      alignas(64) char bytes[kChunkInputs * kQuantColumns];
      take_apart<Format>(c, bytes);
      c.runs = bytes;
      add_rows<Format, 8, Dot>(rows, used, c, y);
    }
    x += inputs / Format::kGroup * static_cast<int64_t>(sizeof(InputGroup<Format>));
    chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  }
}

// Meanwhile y has a place of its own, with all columns: rows of a large result lie apart by multiples of a page,
// which the caches dislike. So many rows at once that taking codes apart is a small part of the work.
template <class Format, class Dot>
static void quant_tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                       float* y, int64_t y_stride, bool accumulate) noexcept {
  alignas(64) float own[kRowsAtOnce * kQuantColumns];
  const auto bytes = static_cast<size_t>(used) * sizeof(float);
  const auto* x_m = static_cast<const char*>(x);
  for (int64_t left = rows; left > 0;) {
    const int64_t parts = (left + kRowsAtOnce - 1) / kRowsAtOnce, now = (left + parts - 1) / parts;
    if (accumulate)
      for (int64_t r = 0; r < now; ++r) __builtin_memcpy(own + r * kQuantColumns, y + r * y_stride, bytes);
    else
      __builtin_memset(own, 0, static_cast<size_t>(now) * kQuantColumns * sizeof(float));
    add_panel<Format, Dot>(x_m, x_stride_bytes, static_cast<int>(now), static_cast<const char*>(panel), K, used, own);
    for (int64_t r = 0; r < now; ++r) __builtin_memcpy(y + r * y_stride, own + r * kQuantColumns, bytes);
    x_m += now * x_stride_bytes, y += now * y_stride, left -= now;
  }
}

template <class Format, class Dot>
static constexpr MatmulKernel quantized_kernel(DType type) {
  return {.weights = type,
          .inputs = DType::i8,
          .columns = kQuantColumns,
          .unit_inputs = 4,
          .block_inputs = kChunkInputs,
          .group_inputs = Format::kGroup,
          .group_bytes = sizeof(InputGroup<Format>),
          .by_row = {.prepare = prepare_codes<Format>, .multiply = quant_tile<Format, Dot>},
          .pack = pack_quantized<Format>,
          .unpack = unpack_quantized<Format>,
          .rounding_rest = rounding_rest<Format>};
}

template <class Dot>
static constexpr QuantizedKernels quantized_kernels() {
  return {quantized_kernel<ShortBlocks<8, 128, false>, Dot>(DType::q8_0),
          quantized_kernel<ShortBlocks<4, 8, false>, Dot>(DType::q4_0),
          quantized_kernel<ShortBlocks<4, 0, true>, Dot>(DType::q4_1),
          quantized_kernel<ShortBlocks<5, 16, false>, Dot>(DType::q5_0),
          quantized_kernel<ShortBlocks<5, 0, true>, Dot>(DType::q5_1),
          quantized_kernel<LongBlocks<4>, Dot>(DType::q4_k),
          quantized_kernel<LongBlocks<5>, Dot>(DType::q5_k),
          quantized_kernel<SixBitBlocks, Dot>(DType::q6_k)};
}

}  // namespace
}  // namespace cachalot
