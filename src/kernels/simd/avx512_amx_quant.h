// Quantized weights with many rows, in integer tiles; what they are and what the results must be: quant_matmul.h.
//
// The products cost next to nothing; what counts is how often sums leave the tiles, as they do so through memory, and
// how rows of inputs lie, as a tile is sixteen lines of them. So sixteen rows are prepared side by side, and results
// of a tile of 16 columns stay in registers for a whole chunk. While the sums of one step are added to the results
// row by row, those of the next one leave and those of the one after it are made, a tile instruction at a time
// between the rows: in a lump they would stand in each other's way (1.4 times the time).
//
// Where the blocks' scales are integers, weights are first multiplied by them: scale * (code - zero) takes 13 bits,
// which are two planes of bytes, the lower one unsigned. So sums leave the tiles once per group and plane instead of
// once per block, and f32(256 high + low) is one conversion, exact but for its one rounding.
//
// While tiles are in use, multiplications, fma and conversions of whole registers have one port instead of two, and
// that port is what adding sums to results waits for (docs/log.md). Additions and shuffles keep the other one, so
// integers become floating point by addition where they are small enough: to kRounder's bits, which adds them to the
// number.
#pragma once

#include <type_traits>

#include "kernels/simd/avx512_amx.h"

namespace cachalot {
namespace {

constexpr int64_t kRowsPerPass = 512;  // over a panel: taking it apart is a twentieth of the work then
using TileSums = int32_t[kTileOfRows][kTileColumns];

constexpr float kRounder = 0x1.8p23f;
// kRounder + a, exactly, for integers below 2^22 in magnitude.
static F32x plus_rounder(I32x a) { return __builtin_bit_cast(F32x, a + __builtin_bit_cast(I32x, set(kRounder))); }

// Sixteen rows of a group: the codes, kTileBytes of every row at a time; the scales; the starts.
template <class Format>
struct TileGroup {
  static constexpr int kTileBytes = Format::kIntegerScales ? 64 : Format::kBlock;
  static constexpr int kTiles = Format::kGroup / kTileBytes;

  int8_t codes[kTiles][kTileOfRows][kTileBytes];
  float scale[kTileOfRows];
  int32_t start[InputGroup<Format>::kStarts][kTileOfRows];
};

template <class Format>
static void prepare_tile(const float* x_K, int64_t K, int row, void* tile) noexcept {
  using Tile = TileGroup<Format>;
  static_assert(sizeof(Tile) == kTileOfRows * sizeof(InputGroup<Format>));
  auto* out = static_cast<Tile*>(tile);
  for (int64_t k = 0; k < K; k += Format::kGroup, ++out)
    round_group<Format>(x_K + k, {.scale = &out->scale[row],
                                  .start = &out->start[0][row],
                                  .start_stride = kTileOfRows,
                                  .codes = out->codes[0][row],
                                  .tile_codes = Tile::kTileBytes,
                                  .tile_stride = sizeof(out->codes[0])});
}

// Results of sixteen rows by 16 columns, rows `stride` numbers apart; from zeros when there is no `from`.
using RowSums = F32x[kTileOfRows];
[[gnu::always_inline]] static inline void load_rows(const float* from, int64_t stride, RowSums& results) {
#pragma GCC unroll 16
  for (int r = 0; r < kTileOfRows; ++r) results[r] = from ? load(from + r * stride) : F32x{};
}
[[gnu::always_inline]] static inline void store_rows(const RowSums& results, int64_t stride, float* to) {
#pragma GCC unroll 16
  for (int r = 0; r < kTileOfRows; ++r) store(to + r * stride, results[r]);
}

// Where tiles are taken from: sixteen rows' groups of a chunk, and the first of 16 columns.
template <class Format>
struct TilePlace {
  const TileGroup<Format>* x;
  int column;
};

// One step: adds the sums of side `side` to the results, row by row; meanwhile the next step's, made before, leave to
// the other side, and those of the step after that are made.
template <int side, int row = 0, class Tiles, class Factors>
[[gnu::always_inline]] static inline void accumulate_step(Tiles& tiles, const Factors& factors, RowSums& results) {
  if constexpr (row % 2 == 0) tiles.template make<side, row / 2>();
  tiles.template accumulate<side>(factors, row, results[row]);
  if constexpr (row + 1 < kTileOfRows) accumulate_step<side, row + 1>(tiles, factors, results);
}
template <int side, int part = 0, class Tiles>
[[gnu::always_inline]] static inline void make_step(Tiles& tiles) {
  tiles.template make<side, part>();
  if constexpr (2 * (part + 1) < kTileOfRows) make_step<side, part + 1>(tiles);
}

// -- Blocks with factors of their own

template <class Format>
class ShortTiles {
 public:
  static void use_shapes() {
    static_assert(Format::kBlock == 32);
    use_tiles(kShortTiles, [](TileShapes& shapes) {
      for (const int first : {0, 3}) {
        shapes.set(first, kTileOfRows, 64);
        shapes.set(first + 1, kTileOfRows, Format::kBlock);
        shapes.set(first + 2, Format::kBlock / 4, 64);
      }
    });
  }

  explicit ShortTiles(const QuantChunk& chunk) : chunk_(chunk), blocks_(chunk.inputs / Format::kBlock) {
    take_apart<Format>(chunk, codes_, Format::kZero);
  }

  // Before the first add().
  void begin(const TilePlace<Format>& first) {
    aim(first);
    make_step<0>(*this);
    if (blocks_ == 1) aim(first);
    make_step<1>(*this);
  }
  // All steps of `here`; those ahead go on at `next`. Counting the steps ahead instead costs 2 %.
  void add(const TilePlace<Format>& here, const TilePlace<Format>& next, const float* from, float* to,
           int64_t stride) {
    RowSums results;
    load_rows(from, stride, results);
    for (int b = 0; b + 1 < blocks_; b += 2) {
      if (b + 2 == blocks_) aim(next);
      accumulate_step<0>(*this, factors(here, b), results);
      if (b + 3 == blocks_) aim(next);
      accumulate_step<1>(*this, factors(here, b + 1), results);
    }
    if (blocks_ % 2 == 1) {  // the sides change places
      const Factors last = factors(here, blocks_ - 1);
#pragma GCC unroll 16
      for (int r = 0; r < kTileOfRows; ++r) accumulate<0>(last, r, results[r]);
      begin(next);
    }
    store_rows(results, stride, to);
  }

  template <int side, int part>
  [[gnu::always_inline]] void make() {
    if constexpr (side == 0) {
      if constexpr (part == 0) _tile_stored(3, sums_[1], 64);
      if constexpr (part == 1) _tile_zero(0);
      if constexpr (part == 1) _tile_loadd(1, x_ahead_->codes, Format::kBlock);
      if constexpr (part == 2) _tile_loadd(2, codes_ahead_, kRowBytes);
      if constexpr (part == 3) _tile_dpbssd(0, 1, 2);
    } else {
      if constexpr (part == 0) _tile_stored(0, sums_[0], 64);
      if constexpr (part == 1) _tile_zero(3);
      if constexpr (part == 1) _tile_loadd(4, x_ahead_->codes, Format::kBlock);
      if constexpr (part == 2) _tile_loadd(5, codes_ahead_, kRowBytes);
      if constexpr (part == 3) _tile_dpbssd(3, 4, 5);
    }
    if constexpr (part == 4) ++x_ahead_, codes_ahead_ += Format::kBlock / 4 * kRowBytes;
  }

  struct Factors {
    const TileGroup<Format>* x;
    F32x factor, less, addend;  // less: -factor * kRounder, which is exact
  };
  template <int side>
  [[gnu::always_inline]] void accumulate(const Factors& f, int r, F32x& result) const {
    F32x t = fma(f.factor, plus_rounder(load_units(sums_[side][r])), f.less);
    if constexpr (Format::kMins) t = fma(f.addend, set(__builtin_bit_cast(float, f.x->start[0][r])), t);
    result = fma(set(f.x->scale[r]), t, result);
  }

 private:
  [[gnu::always_inline]] Factors factors(const TilePlace<Format>& here, int block) const {
    const int at = block * kQuantColumns + here.column;
    const F32x factor = load(chunk_.factors + at);
    return {here.x + block, factor, mul(factor, set(-kRounder)), Format::kMins ? load(chunk_.addends + at) : F32x{}};
  }
  void aim(const TilePlace<Format>& place) { x_ahead_ = place.x, codes_ahead_ = codes_ + place.column * 4; }

  alignas(64) char codes_[kChunkInputs * kQuantColumns];
  alignas(64) TileSums sums_[2];
  const TileGroup<Format>* x_ahead_;  // what is made next
  const char* codes_ahead_;
  QuantChunk chunk_;
  int blocks_;
};

// -- Blocks with integer scales

// By a shuffle, since shifts need the port that is scarce.
static I32x times_256(I32x a) {
  const __m512i up = _mm512_broadcast_i32x4(_mm_setr_epi8(-1, 0, 1, 2, -1, 4, 5, 6, -1, 8, 9, 10, -1, 12, 13, 14));
  return reinterpret_cast<I32x>(_mm512_shuffle_epi8(reinterpret_cast<__m512i>(a), up));
}

template <class Format>
class LongTiles {
  static constexpr int kGroups = kChunkInputs / Format::kGroup;
  static constexpr int kPairs = ChunkScales<Format>::kPairs ? InputGroup<Format>::kStarts : 0;
  static_assert(kGroups == 2);

 public:
  static void use_shapes() {
    use_tiles(kLongTiles, [](TileShapes& shapes) {
      for (int tile = 0; tile < 8; ++tile) shapes.set(tile, 16, 64);
    });
  }

  explicit LongTiles(const QuantChunk& chunk) : chunk_(chunk) { make_planes<0>(); }

  // As ShortTiles's.
  void begin(const TilePlace<Format>& first) {
    ahead_ = first;
    make_step<0>(*this);
    make_step<1>(*this);
  }
  void add(const TilePlace<Format>& here, const TilePlace<Format>& next, const float* from, float* to,
           int64_t stride) {
    RowSums results;
    load_rows(from, stride, results);
    ahead_ = next;
    accumulate_step<0>(*this, factors(here, 0), results);
    accumulate_step<1>(*this, factors(here, 1), results);
    store_rows(results, stride, to);
  }

  // tmm0, tmm1 and tmm2, tmm3: low and high sums of both sides; tmm4 inputs; tmm5 … tmm7 planes.
  template <int side, int part>
  [[gnu::always_inline]] void make() {
    const TileGroup<Format>& x = ahead_.x[side];
    const int64_t at = int64_t{side} * (Format::kGroup / 4) * kRowBytes + ahead_.column * 4, half = 16 * kRowBytes;
    const char *low = low_ + at, *high = high_ + at;
    if constexpr (side == 0) {
      if constexpr (part == 0) _tile_stored(2, sums_[1][0], 64);
      if constexpr (part == 0) _tile_stored(3, sums_[1][1], 64);
      if constexpr (part == 1) _tile_zero(0);
      if constexpr (part == 1) _tile_zero(1);
      if constexpr (part == 3) _tile_dpbsud(0, 4, 5);
      if constexpr (part == 4) _tile_dpbssd(1, 4, 6);
      if constexpr (part == 6) _tile_dpbsud(0, 4, 7);
      if constexpr (part == 7) _tile_dpbssd(1, 4, 5);
    } else {
      if constexpr (part == 0) _tile_stored(0, sums_[0][0], 64);
      if constexpr (part == 0) _tile_stored(1, sums_[0][1], 64);
      if constexpr (part == 1) _tile_zero(2);
      if constexpr (part == 1) _tile_zero(3);
      if constexpr (part == 3) _tile_dpbsud(2, 4, 5);
      if constexpr (part == 4) _tile_dpbssd(3, 4, 6);
      if constexpr (part == 6) _tile_dpbsud(2, 4, 7);
      if constexpr (part == 7) _tile_dpbssd(3, 4, 5);
    }
    if constexpr (part == 1) _tile_loadd(4, x.codes[0], 64);
    if constexpr (part == 2) _tile_loadd(5, low, kRowBytes);
    if constexpr (part == 3) _tile_loadd(6, high, kRowBytes);
    if constexpr (part == 4) _tile_loadd(4, x.codes[1], 64);
    if constexpr (part == 5) _tile_loadd(7, low + half, kRowBytes);
    if constexpr (part == 6) _tile_loadd(5, high + half, kRowBytes);
  }

  struct Factors {
    const TileGroup<Format>* x;
    F32x factor, addend;
    I32x minimums[kPairs + 1];
  };
  template <int side>
  [[gnu::always_inline]] void accumulate(const Factors& f, int r, F32x& result) const {
    const I32x sum = load_units(sums_[side][0][r]) + times_256(load_units(sums_[side][1][r]));
    F32x t = mul(f.factor, __builtin_convertvector(sum, F32x));
    if constexpr (kPairs > 0) {
      I32x m = __builtin_bit_cast(I32x, set(kRounder));  // 4 * 63 * 32 * 127 < 2^22
#pragma GCC unroll 4
      for (int p = 0; p < kPairs; ++p) m = VnniDot::add_pairs(m, f.minimums[p], repeat_unit(&f.x->start[p][r]));
      t = fma(f.addend, sub(__builtin_bit_cast(F32x, m), set(kRounder)), t);
    }
    result = fma(set(f.x->scale[r]), t, result);
  }

 private:
  [[gnu::always_inline]] Factors factors(const TilePlace<Format>& here, int group) const {
    const int column = here.column;
    Factors f = {here.x + group, load(chunk_.factors + column), {}, {}};
    if constexpr (kPairs > 0) {
      f.addend = load(chunk_.addends + column);
#pragma GCC unroll 4
      for (int i = 0; i < kPairs; ++i)
        f.minimums[i] = load_units(chunk_.minimums + (group * kPairs + i) * kQuantColumns + column);
    }
    return f;
  }

  // Units `unit` of all runs, and those that follow.
  template <int unit>
  void make_planes() {
    const __m512i bytes = _mm512_set1_epi16(0xff), zero = _mm512_set1_epi8(Format::kZero);
    for (int run = 0; run < kChunkInputs / 32; ++run) {
      const int block = (run * 32 + unit * 4) / Format::kBlock, row = (run * 8 + unit) * kRowBytes;
      for (int n = 0; n < kQuantColumns; n += kLanes) {
        const __m512i scale = _mm512_loadu_si512(chunk_.scales + block * kQuantColumns + n);
        const __m512i pair =
            _mm512_or_si512(_mm512_slli_epi32(scale, 16), _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
        const auto codes = reinterpret_cast<__m512i>(
            codes_of<Format::kBits, unit>(chunk_.runs + run * Format::kBits * kRowBytes + n * 4));
        __m512i even, odd;
        if constexpr (Format::kZero == 0) {
          even = _mm512_and_si512(codes, bytes), odd = _mm512_srli_epi16(codes, 8);
        } else {
          const __m512i centred = _mm512_sub_epi8(codes, zero);
          even = _mm512_srai_epi16(_mm512_slli_epi16(centred, 8), 8), odd = _mm512_srai_epi16(centred, 8);
        }
        even = _mm512_mullo_epi16(even, pair), odd = _mm512_mullo_epi16(odd, pair);
        constexpr int kChoose = 0xca;  // mask ? b : c
        _mm512_store_si512(low_ + row + n * 4,
                           _mm512_ternarylogic_epi32(bytes, even, _mm512_slli_epi16(odd, 8), kChoose));
        _mm512_store_si512(high_ + row + n * 4,
                           _mm512_ternarylogic_epi32(bytes, _mm512_srli_epi16(even, 8), odd, kChoose));
      }
    }
    if constexpr (unit + 1 < 8) make_planes<unit + 1>();
  }

  alignas(64) char low_[kChunkInputs * kQuantColumns], high_[kChunkInputs * kQuantColumns];
  alignas(64) TileSums sums_[2][2];
  TilePlace<Format> ahead_;  // made next
  QuantChunk chunk_;
};

// -- Panels

// Some neighbouring panels at once: rows of y may lie pages apart, and are written in long pieces then, past the
// caches when they are many; and while a chunk of the inputs is in the cache it meets all of them.
constexpr int kPanelsAtOnce = 4;
constexpr int64_t kStreamedNumbers = 1 << 18;

// One chunk of one panel for all rows. `sums` is of its first column, rows kPanelsAtOnce panels apart.
template <class Format>
static void add_tiles(const char* x, int64_t x_row_bytes, int64_t rows, const char* chunk, int inputs, int used,
                      bool first, float* sums) {
  using Tiles = std::conditional_t<Format::kIntegerScales, LongTiles<Format>, ShortTiles<Format>>;
  constexpr int64_t kStride = kPanelsAtOnce * kQuantColumns;
  ChunkScales<Format> scales;
  Format::take_apart(chunk, inputs, scales);
  Tiles tiles({.x = nullptr,
               .x_stride_bytes = 0,
               .runs = chunk + inputs / Format::kStoredInputs * Format::kHeaderBytes * kQuantColumns,
               .factors = scales.factors,
               .addends = scales.addends,
               .scales = scales.scales,
               .minimums = scales.minimums,
               .inputs = inputs});
  asm volatile("" ::: "memory");  // the compiler does not see what tile loads read
  const auto place = [&](int64_t row, int column) {
    return TilePlace<Format>{reinterpret_cast<const TileGroup<Format>*>(x + row * x_row_bytes), column};
  };
  tiles.begin(place(0, 0));
  for (int64_t r = 0; r < rows; r += kTileOfRows)
    for (int column = 0; column < used; column += kTileColumns) {
      const auto here = place(r, column), next = column + kTileColumns < used ? place(r, column + kTileColumns)
                                                 : r + kTileOfRows < rows     ? place(r + kTileOfRows, 0)
                                                                              : here;  // made in vain
      float* to = sums + r * kStride + column;
      tiles.add(here, next, first ? nullptr : to, to, kStride);
    }
}

static void put_row(const float* row, int count, bool streamed, float* y) {
  if (!streamed) {
    __builtin_memcpy(y, row, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  for (int n = 0; n < count; n += kLanes) stream(y + n, load(row + n));
}

// TileMicroKernel::multiply().
template <class Format>
static void multiply_tiles(const void* x, int64_t rows, const void* panels, int64_t K, int used, float* y,
                           int64_t y_stride) noexcept {
  using Tiles = std::conditional_t<Format::kIntegerScales, LongTiles<Format>, ShortTiles<Format>>;
  constexpr int64_t kGroupBytes = static_cast<int64_t>(sizeof(InputGroup<Format>));
  constexpr int kColumns = kPanelsAtOnce * kQuantColumns;
  alignas(64) float sums[kRowsPerPass * kColumns];
  const int64_t x_row_bytes = K / Format::kGroup * kGroupBytes;
  const int64_t panel_bytes = K / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  const auto* x_m = static_cast<const char*>(x);
  const bool whole_lines = (reinterpret_cast<uintptr_t>(y) | static_cast<uintptr_t>(y_stride * 4)) % 64 == 0;
  const bool streamed = whole_lines && used % kLanes == 0 && rows * y_stride >= kStreamedNumbers;
  Tiles::use_shapes();
  for (int64_t left = rows; left > 0;) {
    const int64_t now = left < kRowsPerPass ? left : kRowsPerPass;
    const auto* panel = static_cast<const char*>(panels);
    for (int column = 0; column < used; column += kColumns, panel += kPanelsAtOnce * panel_bytes) {
      const int wide = used - column < kColumns ? used - column : kColumns;
      int64_t chunk = 0;
      for (int64_t k = 0; k < K; k += kChunkInputs) {
        const int inputs = static_cast<int>(K - k < kChunkInputs ? K - k : kChunkInputs);
        for (int n = 0; n < wide; n += kQuantColumns)
          add_tiles<Format>(x_m + k / Format::kGroup * kTileOfRows * kGroupBytes, x_row_bytes, now,
                            panel + n / kQuantColumns * panel_bytes + chunk, inputs,
                            wide - n < kQuantColumns ? wide - n : kQuantColumns, k == 0, sums + n);
        chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
      }
      for (int64_t r = 0; r < now; ++r) put_row(sums + r * kColumns, wide, streamed, y + r * y_stride + column);
    }
    x_m += now * x_row_bytes, y += now * y_stride, left -= now;
  }
  if (streamed) finish_streams();
}

template <class Format>
static constexpr MatmulKernel with_tiles(MatmulKernel kernel) {
  kernel.by_tile = {.rows = kTileOfRows,
                    // Fewer rows do not pay for taking a panel apart.
                    .least_rows = Format::kIntegerScales ? 2 * kTileOfRows : kTileOfRows,
                    .panels = kPanelsAtOnce,
                    .prepare = prepare_tile<Format>,
                    .multiply = multiply_tiles<Format>};
  return kernel;
}

}  // namespace
}  // namespace cachalot
