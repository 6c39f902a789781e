// What AMX adds to avx512_bf16.h: products of whole tiles. A tile register holds 16 rows of 64 bytes; one instruction
// multiplies a tile of inputs (rows by 64 bytes of k) with a tile of weights (16 units of k by 16 columns, which is
// a piece of a panel as it lies) and adds to a tile of results. A row's result does not depend on the other rows.
//
// TDPBF16PS takes 32 inputs at once. Its chain over k is its own (pass_1() spells it out), so on this instruction set
// few rows are multiplied as many are. Products of bytes add integers, which is exact in any order: few rows may use
// VNNI and many of them tiles.
#pragma once

#include <span>

#include "kernels/simd/avx512_bf16.h"

#if !defined(__AMX_TILE__) || !defined(__AMX_INT8__) || !defined(__AMX_BF16__)
#error "compile with the flags of isa/avx512_amx.cpp"
#endif

namespace cachalot {
namespace {

constexpr int kTileOfRows = 16, kTileColumns = 16;
constexpr int kTileInputs = 32;               // bf16
constexpr int64_t kUnitBytes = kColumns * 4;  // of a panel
constexpr int64_t kTilePanelBytes = 16 * kUnitBytes;

// Shapes of tmm0 … tmm7.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows), row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
  // The compiler knows neither that this reads the shapes nor that tile loads read what was stored before.
  void use() const { asm volatile("ldtilecfg %0" ::"m"(*this) : "memory"); }
};

// Taking up shapes costs as much as some twenty tiles, so they are kept from call to call, and a kernel that begins
// says what it needs: so many rows of bf16, or the following.
enum TileUse : int { kNoTiles = 0, kShortTiles = 64, kLongTiles };
static thread_local int t_tile_use = kNoTiles;  // of this thread

template <class SetShapes>
static void use_tiles(int use, const SetShapes& set_shapes) {
  asm volatile("" ::: "memory");  // the compiler does not see what tile loads read
  if (t_tile_use == use) return;
  TileShapes shapes;
  set_shapes(shapes);
  shapes.use();
  t_tile_use = use;
}

// -- bf16

// Some rows with panels of k_tiles each, one after the other. Results: [rows][kColumns at least].
struct TilePass {
  const char* x;
  int64_t x_stride_bytes;
  std::span<const std::byte* const> panels;
  int64_t k_tiles;
  float* y;
  int64_t y_stride_bytes;
  bool accumulate;
  Prefetch ahead;

  Prefetcher prefetcher() const { return {ahead, 4 * k_tiles * static_cast<int64_t>(panels.size())}; }
};

// Up to 16 rows: tmm0 … tmm3 are all columns, so that the panel is read in order. tmm4 inputs, tmm5 … tmm7 weights.
static void pass_16(const TilePass& p) {
  const auto stride = p.y_stride_bytes;
  if (p.accumulate) {
    _tile_loadd(0, p.y, stride);
    _tile_loadd(1, p.y + 16, stride);
    _tile_loadd(2, p.y + 32, stride);
    _tile_loadd(3, p.y + 48, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const char* x = p.x;
  Prefetcher prefetcher = p.prefetcher();
  for (const std::byte* panel : p.panels)
    for (int64_t k = 0; k < p.k_tiles; ++k, x += 64, panel += kTilePanelBytes) {
      _tile_loadd(4, x, p.x_stride_bytes);
      prefetcher.prefetch_piece();
      _tile_loadd(5, panel, kUnitBytes);
      prefetcher.prefetch_piece();
      _tile_loadd(6, panel + 64, kUnitBytes);
      _tile_dpbf16ps(0, 4, 5);
      prefetcher.prefetch_piece();
      _tile_loadd(7, panel + 128, kUnitBytes);
      _tile_dpbf16ps(1, 4, 6);
      prefetcher.prefetch_piece();
      _tile_loadd(5, panel + 192, kUnitBytes);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 4, 5);
    }
  _tile_stored(0, p.y, stride);
  _tile_stored(1, p.y + 16, stride);
  _tile_stored(2, p.y + 32, stride);
  _tile_stored(3, p.y + 48, stride);
}

// Subnormal inputs and results are zeros, as they are to tiles.
class SubnormalsAsZeros {
 public:
  SubnormalsAsZeros() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~SubnormalsAsZeros() { _mm_setcsr(before_); }

 private:
  unsigned before_;
};

// One row, from which a tile gains nothing, by TDPBF16PS's own chain: for 32 inputs the products of even k and those
// of odd k are two chains of fma, each from 0; their sum is added to the result.
static void pass_1(const TilePass& p, int64_t K) {
  const SubnormalsAsZeros guard;
  const char* x = p.x;
  F32x results[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) results[v] = p.accumulate ? load(p.y + v * kLanes) : set(0);
  for (const std::byte* panel : p.panels)
    for (int64_t units = (K + 1) / 2; units > 0; units -= 16) {
      F32x even[4], odd[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) even[v] = odd[v] = set(0);
      for (int u = 0; u < 16 && u < units; ++u, x += 4, panel += kUnitBytes) {
        const F32x pair = __builtin_bit_cast(F32x, repeat_unit(x)), x_even = widen_low(pair),
                   x_odd = widen_high(pair);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          __builtin_prefetch(panel + kPrefetchAhead + v * 64, 0, 2);
          __builtin_prefetch(panel + kPrefetchAheadNear + v * 64, 0, 3);
          const F32x w = load(reinterpret_cast<const float*>(panel) + v * kLanes);
          even[v] = fma(x_even, widen_low(w), even[v]);
          odd[v] = fma(x_odd, widen_high(w), odd[v]);
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) results[v] = add(results[v], add(even[v], odd[v]));
    }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) store(p.y + v * kLanes, results[v]);
}

// 17 to 32 rows: tmm0, tmm1 and tmm2, tmm3 are both tiles of rows with half of the columns, so that every tile that
// is loaded is used twice. tmm4, tmm5 inputs, tmm6, tmm7 weights.
static void pass_32(const TilePass& p) {
  const auto stride = p.y_stride_bytes;
  for (int column = 0; column < kColumns; column += 2 * kTileColumns) {
    float *y = p.y + column, *y_16 = y + kTileOfRows * stride / 4;
    if (p.accumulate) {
      _tile_loadd(0, y, stride);
      _tile_loadd(1, y + 16, stride);
      _tile_loadd(2, y_16, stride);
      _tile_loadd(3, y_16 + 16, stride);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    const char *x = p.x, *x_16 = x + kTileOfRows * p.x_stride_bytes;
    Prefetcher prefetcher = column == 0 ? p.prefetcher() : Prefetcher({}, 1);
    for (const std::byte* whole_panel : p.panels) {
      const std::byte* panel = whole_panel + column * 4;
      for (int64_t k = 0; k < p.k_tiles; ++k, x += 64, x_16 += 64, panel += kTilePanelBytes) {
        _tile_loadd(4, x, p.x_stride_bytes);
        prefetcher.prefetch_piece();
        _tile_loadd(6, panel, kUnitBytes);
        prefetcher.prefetch_piece();
        _tile_loadd(7, panel + 64, kUnitBytes);
        _tile_dpbf16ps(0, 4, 6);
        prefetcher.prefetch_piece();
        _tile_loadd(5, x_16, p.x_stride_bytes);
        _tile_dpbf16ps(1, 4, 7);
        prefetcher.prefetch_piece();
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, y, stride);
    _tile_stored(1, y + 16, stride);
    _tile_stored(2, y_16, stride);
    _tile_stored(3, y_16 + 16, stride);
  }
}

static void use_rows(int rows) {
  use_tiles(rows, [rows](TileShapes& shapes) {
    const int first = rows < kTileOfRows ? rows : kTileOfRows, second = rows > kTileOfRows ? rows - kTileOfRows : 16;
    const bool pairs = rows > kTileOfRows;
    shapes.set(0, first, 64), shapes.set(1, first, 64);
    shapes.set(2, pairs ? second : first, 64), shapes.set(3, pairs ? second : first, 64);
    shapes.set(4, first, 64), shapes.set(5, pairs ? second : 16, 64);
    shapes.set(6, 16, 64), shapes.set(7, 16, 64);
  });
}

// rows ≤ 32, as use_rows() has been told. What is left of the one panel's K beyond whole tiles is taken with zeros
// behind it.
static void pass_rows(TilePass p, int rows, int64_t K) {
  if (rows == 1) return pass_1(p, K);
  p.k_tiles = K / kTileInputs;
  const auto pass = rows > kTileOfRows ? pass_32 : pass_16;
  if (p.k_tiles > 0) pass(p);
  const int64_t left = K % kTileInputs;
  if (left == 0) return;
  alignas(64) char x[2 * kTileOfRows][64] = {};
  alignas(64) std::byte panel[kTilePanelBytes] = {};
  for (int r = 0; r < rows; ++r)
    __builtin_memcpy(x[r], p.x + r * p.x_stride_bytes + p.k_tiles * 64, static_cast<size_t>(left) * 2);
  __builtin_memcpy(panel, p.panels[0] + p.k_tiles * kTilePanelBytes,
                   static_cast<size_t>((left + 1) / 2 * kUnitBytes));
  asm volatile("" ::: "memory");
  const std::byte* const panels[] = {panel};
  p.x = x[0], p.x_stride_bytes = 64, p.panels = panels, p.accumulate = p.accumulate || p.k_tiles > 0, p.k_tiles = 1;
  p.ahead = {};
  pass(p);
}

// Takes rows by at most 32.
template <class Work>
static void for_tiles_of(int64_t rows, const Work& work) {
  constexpr int kMost = 2 * kTileOfRows;
  for (int64_t done = 0; done < rows;) {
    const int now = static_cast<int>(rows - done < kMost ? rows - done : kMost);
    if (now > 1) use_rows(now);
    work(done, now);
    done += now;
  }
}

// As tile() of matmul.h: parts of K that stay in the second cache, while the sums wait in y.
static void amx_tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                     float* y, int64_t y_stride, bool accumulate) noexcept {
  constexpr int64_t kPartInputs = 2 * kPartUnits;
  static_assert(kPartInputs % kTileInputs == 0);
  const int64_t part = rows > 2 * kTileOfRows ? kPartInputs : K;
  for (int64_t k = 0; k < K; k += part)
    for_tiles_of(rows, [&](int64_t first, int count) {
      const std::byte* const from[] = {static_cast<const std::byte*>(panel) + k * 2 * kColumns};
      TilePass p = {.x = static_cast<const char*>(x) + first * x_stride_bytes + k * 2,
                    .x_stride_bytes = x_stride_bytes,
                    .panels = from,
                    .k_tiles = 0,
                    .y = y + first * y_stride,
                    .y_stride_bytes = y_stride * 4,
                    .accumulate = accumulate || k > 0,
                    .ahead = {}};
      const int64_t inputs = K - k < part ? K - k : part;
      if (rows <= kTileOfRows)  // few rows: memory is read once
        p.ahead = {from[0] + kPrefetchAhead, inputs * 2 * kColumns};
      if (used == kColumns) return pass_rows(p, count, inputs);
      alignas(64) float own[2 * kTileOfRows][kColumns];
      const auto bytes = static_cast<size_t>(used) * 4;
      float* to = p.y;
      if (p.accumulate)
        for (int r = 0; r < count; ++r) __builtin_memcpy(own[r], to + r * y_stride, bytes);
      p.y = own[0], p.y_stride_bytes = sizeof(own[0]);
      asm volatile("" ::: "memory");
      pass_rows(p, count, inputs);
      for (int r = 0; r < count; ++r) __builtin_memcpy(to + r * y_stride, own[r], bytes);
    });
}

static void amx_multiply_panels(const void* x, int64_t x_stride_bytes, int64_t rows,
                                std::span<const std::byte* const> panels, int64_t K, float* y, int64_t y_stride,
                                bool accumulate, Prefetch ahead) noexcept {
  for_tiles_of(rows, [&](int64_t first, int count) {
    pass_rows({.x = static_cast<const char*>(x) + first * x_stride_bytes,
               .x_stride_bytes = x_stride_bytes,
               .panels = panels,
               .k_tiles = 0,
               .y = y + first * y_stride,
               .y_stride_bytes = y_stride * 4,
               .accumulate = accumulate,
               .ahead = first == 0 ? ahead : Prefetch{}},
              count, K);
  });
}

// -- FP8

// As coded_tile(): each block is decoded to a plain panel, and its sums, from 0, are added times their factors.
static void amx_fp8_tile(const void* x, int64_t x_stride_bytes, int64_t rows, const void* panel, int64_t K, int used,
                         float* y, int64_t y_stride, bool accumulate) noexcept {
  static_assert(kCodedColumns == kColumns);
  const auto* at = static_cast<const float*>(panel);
  const auto bytes = static_cast<size_t>(used) * 4;
  if (!accumulate)
    for (int64_t r = 0; r < rows; ++r) __builtin_memset(y + r * y_stride, 0, bytes);
  for (int64_t k = 0; k < K; k += kBlockInputs) {
    const int inputs = static_cast<int>(K - k < kBlockInputs ? K - k : kBlockInputs);
    alignas(64) float plain[kBlockInputs / 2 * kColumns];
    decode<E4m3PairPanels>({.x = nullptr,
                            .x_stride_bytes = 0,
                            .factors = nullptr,
                            .codes = at + kCodedColumns,
                            .inputs = inputs,
                            .used = used,
                            .y = nullptr,
                            .y_stride = 0},
                           plain);
    asm volatile("" ::: "memory");
    const auto* bytes_of_plain = reinterpret_cast<const std::byte*>(plain);
    for_tiles_of(rows, [&](int64_t first, int count) {
      alignas(64) float sums[2 * kTileOfRows][kColumns];
      pass_rows({.x = static_cast<const char*>(x) + first * x_stride_bytes + k * 2,
                 .x_stride_bytes = x_stride_bytes,
                 .panels = {&bytes_of_plain, 1},
                 .k_tiles = 0,
                 .y = sums[0],
                 .y_stride_bytes = sizeof(sums[0]),
                 .accumulate = false,
                 .ahead = {}},
                count, inputs);
      const int full = used / kLanes, tail = used % kLanes;
      for (int r = 0; r < count; ++r)
        for (int v = 0; v < full + (tail > 0); ++v) {
          const F32x factor = load(at + v * kLanes), sum = load(sums[r] + v * kLanes);
          float* to = y + (first + r) * y_stride + v * kLanes;
          if (v < full)
            store(to, fma(factor, sum, load(to)));
          else
            store(to, fma(factor, sum, load(to, tail)), tail);
        }
    });
    at += kCodedColumns * (1 + (inputs + 3) / 4);
  }
}

// -- Probes

// Zeros in tiles of their full size, released afterwards.
template <class Products>
static void loop_over_tiles(int64_t iterations, const Products& products) {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) shapes.set(tile, 16, 64);
  shapes.use();
  for (int64_t i = 0; i < iterations; ++i) products();
  _tile_release();
  t_tile_use = kNoTiles;
}
static float amx_bf16_loop(int64_t iterations) noexcept {
  loop_over_tiles(iterations, [] {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  });
  return 0;
}
static float amx_byte_loop(int64_t iterations) noexcept {
  loop_over_tiles(iterations, [] {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  });
  return 0;
}
constexpr int64_t kAmxBf16Flops = 4 * 2 * 16 * 16 * 32, kAmxByteOps = 2 * kAmxBf16Flops;

}  // namespace
}  // namespace cachalot
