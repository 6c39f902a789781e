// Quantized weights with many rows where there are no byte products that add up in 32 bits (AVX2; AVX-512 without
// VNNI). What they are and what the results must be: quant_matmul.h; the sums are of integers, so they are the same.
//
// There a product of bytes gives sums of two products in 16 bits. As many of those as surely fit are added before
// they are widened: codes below 16 of all 32 inputs of a run, below 32 of sixteen. What widens them is a product with
// pairs of 16 bits, which may as well be with the block's integer scale. Codes of six bits are taken about their
// zero, with inputs moved up by 128 instead; what that adds depends on the weights alone, so sums start from it. Only
// eight bits leave no room: weights and inputs are 16 bits each then.
//
// A chunk is taken apart once for all rows; a few rows at a time are brought into the same form.
#pragma once

#include "kernels/generic/quant_formats.h"
#include "kernels/generic/quant_matmul.h"
#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

constexpr int kPairRows = 4, kPairVectors = kRegisters == 32 ? 4 : 2;

template <class Format>
struct PairForm {
  static constexpr bool kWords = Format::kBits == 8;
  static constexpr bool kCentred = Format::kIntegerScales && Format::kZero != 0;  // inputs are moved, not the codes
  static constexpr int kUnitInputs = kWords ? 2 : 4, kInputBytes = 4 / kUnitInputs;
  // Units whose products fit into 16 bits: 8 * 2 * 15 * 127, 4 * 2 * 31 * 127, 2 * 2 * 32 * 255.
  static constexpr int kFit = Format::kBits == 4 ? 8 : Format::kBits == 5 ? 4 : Format::kBits == 6 ? 2 : 1;
  static_assert(!kCentred || Format::kBits == 6);
};

// A chunk in that form: units by rows of kQuantColumns; of every block its scale in both halves of 32 bits; of every
// group what its sums start from.
template <class Format, class Dot>
struct PairChunk {
  using Form = PairForm<Format>;
  static constexpr int kBlocks = kChunkInputs / Format::kBlock, kGroups = kChunkInputs / Format::kGroup;

  alignas(64) char codes[kChunkInputs * Form::kInputBytes * kQuantColumns];
  alignas(64) int32_t scales[Format::kIntegerScales ? kBlocks * kQuantColumns : 1];
  alignas(64) int32_t start[Form::kCentred ? kGroups * kQuantColumns : 1];

  explicit PairChunk(const QuantChunk& c) {
    for (int run = 0; run < c.inputs / 32; ++run) {
      const char* from = c.runs + run * Format::kBits * kRowBytes;
      if constexpr (Form::kWords)
        words(from, codes + run * 16 * kRowBytes);
      else
        take_run_apart<Format::kBits>(from, codes + run * 8 * kRowBytes, Form::kCentred ? Format::kZero : 0);
    }
    if constexpr (Format::kIntegerScales)
      for (int n = 0; n < c.inputs / Format::kBlock * kQuantColumns; n += kLanes) {
        const I32x scale = load_units(c.scales + n);
        store_units(scales + n, (scale & 0xffff) | (scale << 16));
      }
    if constexpr (Form::kCentred)
      for (int g = 0; g < c.inputs / Format::kGroup; ++g)
        for (int n = 0; n < kQuantColumns; n += kLanes) store_units(start + g * kQuantColumns + n, start_of(g, n));
  }

 private:
  // One run of bytes, less the zero.
  static void words(const char* run, char* out) {
    for (int unit = 0; unit < 8; ++unit, run += kRowBytes, out += 2 * kRowBytes)
      for (int n = 0; n < kRowBytes; n += kLanes * 4) {
        const U8xWide zeros = U8xWide{} + static_cast<uint8_t>(Format::kZero);
        const auto w = __builtin_bit_cast(I32x, __builtin_bit_cast(U8xWide, load_units(run + n)) - zeros);
        store_units(out + n, (((w << 24) >> 24) & 0xffff) | (((w << 16) >> 24) << 16));
        store_units(out + kRowBytes + n, (((w << 8) >> 24) & 0xffff) | ((w >> 24) << 16));
      }
  }

  // -128 * (sum of scale * (code - zero)) of a group.
  I32x start_of(int group, int column) const {
    constexpr int kUnits = Format::kBlock / 4, kGroupBlocks = Format::kGroup / Format::kBlock;
    I32x sum = {};
    for (int b = group * kGroupBlocks; b < (group + 1) * kGroupBlocks; ++b) {
      I32x shorts = {};
      for (int u = 0; u < kUnits; ++u)
        shorts = Dot::add_shorts(
            shorts,
            Dot::multiply_bytes(I32x{} + 0x01010101, load_units(codes + (b * kUnits + u) * kRowBytes + column * 4)));
      sum = Dot::add_pairs(sum, shorts, load_units(scales + b * kQuantColumns + column));
    }
    return -(sum << 7);
  }
};

// A row's codes of a chunk in that form.
template <class Format>
static void copy_codes(const char* x, int inputs, char* out) {
  using Form = PairForm<Format>;
  for (int k = 0; k < inputs; k += Format::kGroup, x += sizeof(InputGroup<Format>)) {
    const int8_t* codes = reinterpret_cast<const InputGroup<Format>*>(x)->codes;
    if constexpr (Form::kWords) {
      auto* words = reinterpret_cast<int16_t*>(out) + k;
      for (int i = 0; i < Format::kGroup; ++i) words[i] = codes[i];
    } else {
      for (int i = 0; i < Format::kGroup; ++i) out[k + i] = static_cast<char>(codes[i] ^ (Form::kCentred ? 0x80 : 0));
    }
  }
}

// One unit's products with a row.
template <class Format, class Dot>
[[gnu::always_inline]] static inline I32x pair_products(I32x w, I32x x) {
  if constexpr (PairForm<Format>::kWords) return Dot::add_pairs(I32x{}, w, x);
  return PairForm<Format>::kCentred ? Dot::multiply_bytes(x, w) : Dot::multiply_bytes(w, x);
}

// kFit units from `w` and `x` on, times `scale`: unit by unit for all rows, or where two units are all, row by row,
// which takes fewer registers.
template <class Format, class Dot, int rows, int vectors>
[[gnu::always_inline]] static inline void add_fitting(const char* w, const char* x, const I32x (&scale)[vectors],
                                                      I32x (&sums)[rows][vectors]) {
  using Form = PairForm<Format>;
  constexpr int kXBytes = kChunkInputs * Form::kInputBytes, kRowsAtOnce = Form::kFit <= 2 ? 1 : rows;
#pragma GCC unroll 8
  for (int first = 0; first < rows; first += kRowsAtOnce) {
    I32x part[kRowsAtOnce][vectors];
#pragma GCC unroll 8
    for (int u = 0; u < Form::kFit; ++u)
#pragma GCC unroll 8
      for (int r = 0; r < kRowsAtOnce; ++r) {
        const I32x x_r = repeat_unit(x + (first + r) * kXBytes + 4 * u);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
          const I32x products = pair_products<Format, Dot>(load_units(w + u * kRowBytes + v * kLanes * 4), x_r);
          part[r][v] = u == 0 ? products : Dot::add_shorts(part[r][v], products);
        }
      }
#pragma GCC unroll 8
    for (int r = 0; r < kRowsAtOnce; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        I32x& sum = sums[first + r][v];
        sum = Form::kWords ? sum + part[r][v] : Dot::add_pairs(sum, part[r][v], scale[v]);
      }
  }
}

// A chunk for `rows` rows and `vectors` * kLanes columns from `column` on, whose y is [rows][kQuantColumns].
template <class Format, class Dot, int rows, int vectors>
[[gnu::noinline]] static void add_pair_chunk(QuantChunk c, const PairChunk<Format, Dot>& wide, const char* codes,
                                             int column, float* y) {
  using Form = PairForm<Format>;
  using Group = InputGroup<Format>;
  constexpr int kBlockUnits = Format::kBlock / Form::kUnitInputs, kGroupBlocks = Format::kGroup / Format::kBlock;
  const char* w = wide.codes + column * 4;
  for (int g = 0; g < c.inputs / Format::kGroup; ++g, c.x += sizeof(Group)) {
    I32x total[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Group& group = *reinterpret_cast<const Group*>(c.x + r * c.x_stride_bytes);
        if constexpr (Form::kCentred)
          total[r][v] = load_units(wide.start + g * kQuantColumns + column + v * kLanes);
        else
          total[r][v] = Format::kMins || Form::kWords ? I32x{} : repeat_unit(&group.start[0]);
      }
#pragma GCC unroll 1
    for (int b = 0; b < kGroupBlocks; ++b) {
      I32x scale[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        scale[v] = Format::kIntegerScales
                       ? load_units(wide.scales + (g * kGroupBlocks + b) * kQuantColumns + column + v * kLanes)
                       : I32x{} + 0x00010001;
#pragma GCC unroll 4
      for (int u = 0; u < kBlockUnits; u += Form::kFit, w += Form::kFit * kRowBytes, codes += Form::kFit * 4)
        add_fitting<Format, Dot>(w, codes, scale, total);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        const Group& group = *reinterpret_cast<const Group*>(c.x + r * c.x_stride_bytes);
        ScaledSum<Format> sum;
        if constexpr (Format::kSumsFitF32)
          sum = __builtin_convertvector(total[r][v], F32x);
        else
          sum = total[r][v];
        float* result = y + r * kQuantColumns + v * kLanes;
        store(result, fma(set(group.scale), group_sum<Format, Dot>(c, group, v, sum), load(result)));
      }
    if constexpr (!Format::kIntegerScales) c.factors += kQuantColumns, c.addends += Format::kMins ? kQuantColumns : 0;
    if constexpr (ChunkScales<Format>::kPairs) c.minimums += Group::kStarts * kQuantColumns;
  }
}

static void prefetch_bytes(const char* p, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(p + line, 0, 2);
}

// As add_rows(), for kLeastPairRows rows or more. Meanwhile it prefetches the next rows' inputs and the next chunk.
template <class Format, class Dot>
static void add_rows_in_pairs(int rows, int used, const QuantChunk& chunk, float* y) {
  constexpr int kColumnsAtOnce = kPairVectors * kLanes;
  const int64_t x_bytes = chunk.inputs / Format::kGroup * static_cast<int64_t>(sizeof(InputGroup<Format>)),
                prefetched_per_row = chunk.inputs / 32 * share_of_run<Format>(kQuantColumns) / rows + 1;
  const PairChunk<Format, Dot> wide(chunk);
  alignas(64) char codes[kPairRows][kChunkInputs * PairForm<Format>::kInputBytes];
  QuantChunk rest = chunk;
  for (int left = rows; left > 0;) {
    const int groups = (left + kPairRows - 1) / kPairRows, now = (left + groups - 1) / groups;
    for (int r = 0; r < now; ++r) {
      const char* x = rest.x + r * rest.x_stride_bytes;
      copy_codes<Format>(x, rest.inputs, codes[r]);
      prefetch_bytes(x + now * rest.x_stride_bytes, x_bytes);
    }
    prefetch_bytes(rest.ahead, now * prefetched_per_row);
    QuantChunk c = rest;
    for (int column = 0; column < used; column += kColumnsAtOnce) {
      if (now == kPairRows)
        add_pair_chunk<Format, Dot, kPairRows, kPairVectors>(c, wide, codes[0], column, y + column);
      else
        add_pair_chunk<Format, Dot, kPairRows - 1, kPairVectors>(c, wide, codes[0], column, y + column);
      c.advance<Format>(kColumnsAtOnce);
    }
    rest.x += now * rest.x_stride_bytes, rest.ahead += now * prefetched_per_row, y += now * kQuantColumns,
        left -= now;
  }
}

}  // namespace
}  // namespace cachalot
