// Products with the panels of cached blocks; see AttentionKernel. The matrix kernel's tile reads panels that stream
// through thousands of inputs, which the processor's own prefetcher follows; blocks of the cache are short, lie apart
// and are read once by the few rows of a decode step, so here the next block is prefetched between the products.
#pragma once

#include <span>
#include <utility>

#include "kernels/attention.h"
#include "kernels/generic/matmul.h"
#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

// Prefetches memory in so many pieces. In larger ones than need be, prefetches would keep the loads waiting.
class Prefetcher {
 public:
  Prefetcher(Prefetch ahead, int64_t pieces)
      : at_(reinterpret_cast<const char*>(ahead.at)),
        end_(at_ + ahead.bytes),
        piece_((ahead.bytes + 64 * pieces - 1) / (64 * pieces) * 64) {}

  void prefetch_piece() {
    const char* stop = end_ - at_ < piece_ ? end_ : at_ + piece_;
    for (; at_ < stop; at_ += 64) prefetch_line(at_);
  }

 private:
  const char *at_, *end_;
  int64_t piece_;
};

// Some rows with panels of so many units, one after the other.
struct PanelsPass {
  const char* x;
  int64_t x_stride_bytes;
  std::span<const std::byte* const> panels;
  int64_t units;
  float* y;
  int64_t y_stride;
  Prefetch ahead;
};

template <class Panels, int rows, bool accumulate>
static void panels_rows(const PanelsPass& p) {
  F32x sums[rows][kTileVectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) sums[r][v] = accumulate ? load(p.y + r * p.y_stride + v * kLanes) : set(0);

  const char* x = p.x;
  Prefetcher prefetcher(p.ahead, p.units * static_cast<int64_t>(p.panels.size()));
  for (const std::byte* panel : p.panels)
    for (int64_t u = 0; u < p.units; ++u, x += Panels::kParts * 4, panel += int64_t{kColumns} * 4) {
      prefetcher.prefetch_piece();
      const auto* unit = reinterpret_cast<const float*>(panel);
      step<Panels, 0>(sums, x, p.x_stride_bytes, unit);
      if constexpr (Panels::kParts > 1) step<Panels, 1>(sums, x, p.x_stride_bytes, unit);
    }

#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kTileVectors; ++v) store(p.y + r * p.y_stride + v * kLanes, sums[r][v]);
}

template <class Panels, bool accumulate, int most>
static void panels_rows_of(int rows, const PanelsPass& p) {
  if constexpr (most > 1) {
    if (rows < most) return panels_rows_of<Panels, accumulate, most - 1>(rows, p);
  }
  panels_rows<Panels, most, accumulate>(p);
}

template <class Panels>
static void multiply_panels(const void* x, int64_t x_stride_bytes, int64_t rows,
                            std::span<const std::byte* const> panels, int64_t K, float* y, int64_t y_stride,
                            bool accumulate, Prefetch ahead) noexcept {
  PanelsPass p = {.x = static_cast<const char*>(x),
                  .x_stride_bytes = x_stride_bytes,
                  .panels = panels,
                  .units = (K + Panels::kInputsPerUnit - 1) / Panels::kInputsPerUnit,
                  .y = y,
                  .y_stride = y_stride,
                  .ahead = ahead};
  for (int64_t left = rows; left > 0;) {
    const int64_t blocks = (left + kTileRows - 1) / kTileRows;
    const int now = static_cast<int>((left + blocks - 1) / blocks);
    (accumulate ? panels_rows_of<Panels, true, kTileRows> : panels_rows_of<Panels, false, kTileRows>)(now, p);
    p.x += now * x_stride_bytes, p.y += now * y_stride, left -= now;
    p.ahead = {};  // the first rows have prefetched all of it
  }
}

// -- Keys as values

typedef uint16_t U16x __attribute__((vector_size(sizeof(F32x))));

// Pairs (a[n], b[n]) of the bf16 numbers n of two vectors, in order.
template <int first, int... n>
static F32x zip_from(F32x a, F32x b, std::integer_sequence<int, n...>) {
  return __builtin_bit_cast(F32x, __builtin_shufflevector(__builtin_bit_cast(U16x, a), __builtin_bit_cast(U16x, b),
                                                          (first + n / 2 + n % 2 * 2 * kLanes)...));
}
template <int first>
static F32x zip(F32x a, F32x b) {
  return zip_from<first>(a, b, std::make_integer_sequence<int, 2 * kLanes>());
}

// Squares of kLanes units by kLanes tokens are transposed, after which a vector holds one token's neighbouring
// components: as they are for f32; for bf16 those of two tokens are zipped into pairs.
template <int numbers_per_unit>
static void values_of_keys(const void* keys, int64_t key_dim, int tokens, int64_t dim, void* values,
                           Prefetch ahead) noexcept {
  constexpr int64_t kStep = int64_t{kLanes} * numbers_per_unit;  // components of a square
  const int64_t key_units = (key_dim + numbers_per_unit - 1) / numbers_per_unit, units = dim / numbers_per_unit;
  const int64_t panel_floats = int64_t{tokens} / numbers_per_unit * kColumns;
  const int64_t filled = (dim + kColumns - 1) / kColumns * kColumns;
  const auto* from = static_cast<const float*>(keys);
  Prefetcher prefetcher(ahead, tokens / kLanes * ((filled + kStep - 1) / kStep));
  for (int t = 0; t < tokens; t += kLanes) {
    const float* panel = from + t / kColumns * key_units * kColumns + t % kColumns;
    for (int64_t c = 0; c < filled; c += kStep) {
      prefetcher.prefetch_piece();
      F32x square[kLanes];
      const int64_t u = c / numbers_per_unit;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) square[i] = u + i < units ? load(panel + (u + i) * kColumns) : set(0);
      transpose(square);
      float* to = static_cast<float*>(values) + c / kColumns * panel_floats + c % kColumns;
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i += numbers_per_unit) {
        float* unit = to + (t + i) / numbers_per_unit * kColumns;
        if constexpr (numbers_per_unit == 1) {
          store(unit, square[i]);
        } else {
          store(unit, zip<0>(square[i], square[i + 1]));
          store(unit + kLanes, zip<kLanes>(square[i], square[i + 1]));
        }
      }
    }
  }
}

// -- A cache of codes

typedef uint32_t U32Lanes __attribute__((vector_size(sizeof(F32x))));

static float widened(uint16_t bf16) { return __builtin_bit_cast(float, static_cast<uint32_t>(bf16) << 16); }

// kLanes codes times their scales, as bits of f32 with half of a bf16's last place added. A product has 15 bits, so
// what is cut off later is all that is lost.
static U32Lanes scaled_codes(const int8_t* codes, F32x scale) {
  return __builtin_bit_cast(U32Lanes, mul(__builtin_convertvector(widen_bytes(codes), F32x), scale)) + 0x8000;
}

// Writes one unit of a panel: the codes of its first input, then those of its second.
static void decode_unit(const int8_t* codes, const F32x (&first_scale)[kTileVectors],
                        const F32x (&second_scale)[kTileVectors], uint16_t* unit) {
#pragma GCC unroll 4
  for (int v = 0; v < kTileVectors; ++v) {
    const U32Lanes first = scaled_codes(codes + v * kLanes, first_scale[v]);
    const U32Lanes second = scaled_codes(codes + kColumns + v * kLanes, second_scale[v]);
    const U32Lanes pairs = first >> 16 | (second & 0xffff0000);
    __builtin_memcpy(unit + 2 * v * kLanes, &pairs, sizeof pairs);
  }
}

static void decode_keys(const int8_t* codes, const uint16_t* scale, const uint16_t* group_of_unit, int64_t units,
                        int tokens, uint16_t* panels) noexcept {
  for (int t = 0; t < tokens; t += kColumns) {
    F32x scales[kTileVectors] = {};
    int group = -1;
    for (int64_t u = 0; u < units; ++u, codes += 2 * kColumns, panels += 2 * kColumns) {
      if (group != group_of_unit[u]) {
        group = group_of_unit[u];
        float wide[kColumns];
        for (int i = 0; i < kColumns; ++i) wide[i] = widened(scale[group * tokens + t + i]);
#pragma GCC unroll 4
        for (int v = 0; v < kTileVectors; ++v) scales[v] = load(wide + v * kLanes);
      }
      decode_unit(codes, scales, scales, panels);
    }
  }
}

static F32x small_scales(const uint8_t* scale) {
  const U32Lanes bits = __builtin_bit_cast(U32Lanes, widen_bytes(scale));
  const U32Lanes none = __builtin_bit_cast(U32Lanes, bits == kSmallScaleNaN) & 0x7fc00000;
  return __builtin_bit_cast(F32x, ((bits << 21) + kSmallScaleBase) | none);
}

// Both units of a scale one after the other.
static void decode_turning_keys(const int8_t* codes, const uint8_t* scale, int64_t units, int tokens,
                                uint16_t* panels) noexcept {
  const int64_t half = (units + 1) / 2, far = half * 2 * kColumns;
  for (int t = 0; t < tokens; t += kColumns) {
    for (int64_t u = 0; u < half; ++u) {
      F32x scales[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) scales[v] = small_scales(scale + u * tokens + t + v * kLanes);
      const int64_t at = u * 2 * kColumns;
      decode_unit(codes + at, scales, scales, panels + at);
      if (u + half < units) decode_unit(codes + at + far, scales, scales, panels + at + far);
    }
    codes += units * 2 * kColumns, panels += units * 2 * kColumns;
  }
}

static void decode_values(const int8_t* codes, const uint16_t* scale, int tokens, int64_t dim,
                          uint16_t* panels) noexcept {
  for (int64_t n = 0; n < dim; n += kColumns)
    for (int t = 0; t < tokens; t += 2, codes += 2 * kColumns, panels += 2 * kColumns) {
      F32x first[kTileVectors], second[kTileVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        const int64_t output = n + v * kLanes < dim ? n + v * kLanes : n;  // beyond dim the codes are zeros
        const uint16_t* group = scale + output / kValueGroup * tokens + t;
        first[v] = set(widened(group[0])), second[v] = set(widened(group[1]));
      }
      decode_unit(codes, first, second, panels);
    }
}

}  // namespace
}  // namespace cachalot
