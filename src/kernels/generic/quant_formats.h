// Weights in GGUF's blocks of integer codes: their formats, their panels, and the inputs that meet them. What is done
// with them, and why they lie so: quant_matmul.h.
#pragma once

#include "kernels/generic/pack.h"
#include "kernels/simd/primitives.h"
#include "kernels/table.h"

namespace cachalot {
namespace {

constexpr int kQuantColumns = 64;
constexpr int kChunkInputs = 256;  // taken apart at once: 16 KiB of bytes
static_assert(kQuantColumns % (4 * kLanes) == 0);

typedef uint8_t U8xWide __attribute__((vector_size(4 * kLanes)));

static uint16_t half_at(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// kQuantColumns numbers.
static void widen_halves(const uint16_t* x, float* y) {
  for (int n = 0; n < kQuantColumns; n += kLanes) store(y + n, load_halves(x + n));
}

// The header of a chunk of a panel, taken apart: [block][kQuantColumns]. A format whose blocks have integer scales
// has one factor and addend for the whole chunk, and its minimums in pairs of 16 bits, for blocks 2p and 2p + 1.
template <class Format>
struct ChunkScales {
  static constexpr int kBlocks = kChunkInputs / Format::kBlock, kFactors = Format::kIntegerScales ? 1 : kBlocks;
  static constexpr bool kPairs = Format::kIntegerScales && Format::kMins;

  alignas(64) float factors[kFactors * kQuantColumns];
  alignas(64) float addends[Format::kMins ? kFactors * kQuantColumns : 1];
  alignas(64) int32_t scales[Format::kIntegerScales ? kBlocks * kQuantColumns : 1];
  alignas(64) int32_t minimums[kPairs ? kBlocks / 2 * kQuantColumns : 1];

  // Of one block and column, as dequantize() takes them. Products of f16 and few bits are exact.
  float factor(int block, int column) const {
    if constexpr (!Format::kIntegerScales) return factors[block * kQuantColumns + column];
    return factors[column] * static_cast<float>(scales[block * kQuantColumns + column]);
  }
  float addend(int block, int column) const {
    if constexpr (!kPairs) return addends[block * kQuantColumns + column];
    const int32_t pair = minimums[block / 2 * kQuantColumns + column];
    return addends[column] * static_cast<float>(block % 2 == 0 ? pair & 0xffff : pair >> 16);
  }
};

// -- Formats. Each reads one stored block: the header's numbers go to column `column` of the panel's header, the
//    codes are returned as bytes from 0. take_apart() reads the header of a chunk.

// Sixteen bytes as one, for packing: left to itself gcc 12 goes through them one by one, which is ten times as slow.
typedef uint8_t U8x16 __attribute__((vector_size(16)));
static U8x16 load_bytes(const uint8_t* p) {
  U8x16 bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return bytes;
}
static void put_bytes(uint8_t* p, U8x16 bytes) { __builtin_memcpy(p, &bytes, sizeof bytes); }

// Bit i of sixteen becomes 16 or 0 in byte i: copies of which each keeps its bit, and a carry out of what is left.
static U8x16 spread_bits(const uint8_t* bits) {
  typedef uint64_t U64x2 __attribute__((vector_size(16)));
  const U64x2 copies = {bits[0] * 0x0101010101010101u, bits[1] * 0x0101010101010101u};
  return __builtin_bit_cast(U8x16, ((copies & 0x8040201008040201u) + 0x00406070787c7e7fu) >> 3 & 0x1010101010101010u);
}

// q8_0, q4_0, q5_0 (zero in the middle), q4_1, q5_1 (a minimum): 32 inputs with one f16 factor.
template <int bits, int zero, bool mins>
struct ShortBlocks {
  static constexpr int kBits = bits, kZero = zero, kStoredInputs = 32, kBlock = 32, kGroup = 32;
  static constexpr bool kMins = mins, kIntegerScales = false, kSumsFitF32 = false;
  static constexpr int kHeaderBytes = mins ? 4 : 2, kStoredBytes = kHeaderBytes + 4 * bits;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* __restrict codes) {
    auto* halves = reinterpret_cast<uint16_t*>(header);
    halves[column] = half_at(stored);
    if (mins) halves[kQuantColumns + column] = half_at(stored + 2);
    stored += kHeaderBytes;
    if constexpr (bits == 8) {
      for (int i = 0; i < 32; ++i) codes[i] = stored[i] ^ 0x80;
    } else {
      U8x16 low = {}, high = {};  // the fifth bits
      if constexpr (bits == 5) low = spread_bits(stored), high = spread_bits(stored + 2), stored += 4;
      const U8x16 halves = load_bytes(stored);
      put_bytes(codes, low | (halves & 15));
      put_bytes(codes + 16, high | halves >> 4);
    }
  }
  static void take_apart(const char* header, int inputs, ChunkScales<ShortBlocks>& s) {
    const auto* halves = reinterpret_cast<const uint16_t*>(header);
    for (int b = 0; b < inputs / 32; ++b, halves += kHeaderBytes / 2 * kQuantColumns) {
      widen_halves(halves, s.factors + b * kQuantColumns);
      if (mins) widen_halves(halves + kQuantColumns, s.addends + b * kQuantColumns);
    }
  }
};

// q4_k, q5_k: 256 inputs with two f16 factors, of eight 6-bit scales and of eight 6-bit minimums. The header keeps
// the twelve bytes of scales as they are, byte by byte for all columns.
template <int bits>
struct LongBlocks {
  static constexpr int kBits = bits, kZero = 0, kStoredInputs = 256, kBlock = 32, kGroup = 128;
  static constexpr bool kMins = true, kIntegerScales = true;
  static constexpr bool kSumsFitF32 = bits == 4;  // 15 * 127 * 32 of a block * 63 * 4 blocks < 2^24
  static constexpr int kHeaderBytes = 16, kStoredBytes = kHeaderBytes + 32 * bits;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* __restrict codes) {
    auto* halves = reinterpret_cast<uint16_t*>(header);
    halves[column] = half_at(stored);
    halves[kQuantColumns + column] = half_at(stored + 2);
    for (int i = 0; i < 12; ++i) header[(4 + i) * kQuantColumns + column] = static_cast<char>(stored[4 + i]);
    const uint8_t* low = stored + (bits == 5 ? 48 : 16);
    uint8_t high[32];
    __builtin_memcpy(high, stored + 16, 32);
    for (int pair = 0; pair < 4; ++pair, low += 32, codes += 64)
      for (int i = 0; i < 32; ++i) {
        codes[i] = static_cast<uint8_t>((low[i] & 15) | (bits == 5 ? (high[i] & 1) << 4 : 0));
        codes[i + 32] = static_cast<uint8_t>(low[i] >> 4 | (bits == 5 ? (high[i] & 2) << 3 : 0));
        high[i] >>= 2;
      }
  }
  static void take_apart(const char* header, int, ChunkScales<LongBlocks>& s) {
    widen_halves(reinterpret_cast<const uint16_t*>(header), s.factors);
    widen_halves(reinterpret_cast<const uint16_t*>(header) + kQuantColumns, s.addends);
    for (int n = 0; n < kQuantColumns; n += kLanes) store(s.addends + n, sub(set(0), load(s.addends + n)));

    // Six bits each: of blocks 0 … 3 in bytes of their own, of the others four bits together and two above the
    // former.
    const char* bytes = header + 4 * kQuantColumns;
    alignas(64) uint8_t scales[8][kQuantColumns], minimums[8][kQuantColumns];
    const auto put = [](uint8_t* to, U8xWide codes) { store_units(to, __builtin_bit_cast(I32x, codes)); };
    for (int b = 0; b < 4; ++b)
      for (int n = 0; n < kQuantColumns; n += 4 * kLanes) {
        const auto get = [&](int row) {
          return __builtin_bit_cast(U8xWide, load_units(bytes + row * kQuantColumns + n));
        };
        const U8xWide first = get(b), second = get(4 + b), rest = get(8 + b);
        put(&scales[b][n], first & 63);
        put(&minimums[b][n], second & 63);
        put(&scales[4 + b][n], (rest & 15) | ((first >> 6) << 4));
        put(&minimums[4 + b][n], (rest >> 4) | ((second >> 6) << 4));
      }
    for (int b = 0; b < 8; ++b)
      for (int n = 0; n < kQuantColumns; n += kLanes)
        store_units(s.scales + b * kQuantColumns + n, widen_bytes(&scales[b][n]));
    for (int p = 0; p < 4; ++p)
      for (int n = 0; n < kQuantColumns; n += kLanes)
        store_units(s.minimums + p * kQuantColumns + n,
                    widen_bytes(&minimums[2 * p][n]) | (widen_bytes(&minimums[2 * p + 1][n]) << 16));
  }
};

// q6_k: 256 inputs with an f16 factor of sixteen 8-bit scales.
struct SixBitBlocks {
  static constexpr int kBits = 6, kZero = 32, kStoredInputs = 256, kBlock = 16, kGroup = 128;
  static constexpr bool kMins = false, kIntegerScales = true, kSumsFitF32 = false;
  static constexpr int kHeaderBytes = 18, kStoredBytes = 210;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* __restrict codes) {
    reinterpret_cast<uint16_t*>(header)[column] = half_at(stored + 208);
    for (int i = 0; i < 16; ++i) header[(2 + i) * kQuantColumns + column] = static_cast<char>(stored[192 + i]);
    for (int half = 0; half < 2; ++half, codes += 128) {
      const uint8_t *low = stored + 64 * half, *high = stored + 128 + 32 * half;
      for (int i = 0; i < 32; ++i) {
        codes[i] = static_cast<uint8_t>((low[i] & 15) | (high[i] & 3) << 4);
        codes[i + 32] = static_cast<uint8_t>((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4);
        codes[i + 64] = static_cast<uint8_t>(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
        codes[i + 96] = static_cast<uint8_t>(low[i + 32] >> 4 | high[i] >> 6 << 4);
      }
    }
  }
  static void take_apart(const char* header, int, ChunkScales<SixBitBlocks>& s) {
    widen_halves(reinterpret_cast<const uint16_t*>(header), s.factors);
    const auto* scales = reinterpret_cast<const int8_t*>(header) + 2 * kQuantColumns;
    for (int n = 0; n < 16 * kQuantColumns; n += kLanes) store_units(s.scales + n, widen_bytes(scales + n));
  }
};

// -- Inputs

// A group of one row: x[k] is scale * codes[k]. `start` is what the sums of a block begin with. For formats with
// minimums it is the sum of the block's codes instead: as f32, or two of them in 16 bits each.
template <class Format>
struct InputGroup {
  static constexpr int kBlocks = Format::kGroup / Format::kBlock;
  static constexpr int kStarts = ChunkScales<Format>::kPairs ? kBlocks / 2 : kBlocks;

  float scale;
  int32_t start[kStarts];
  int8_t codes[Format::kGroup];
};

// Where a group's numbers are written.
template <class Format>
struct GroupPlaces {
  float* scale;
  int32_t* start;
  int64_t start_stride;
  int8_t* codes;  // tile_codes at a time, `tile_stride` apart
  int64_t tile_codes, tile_stride;

  void put_sum(int block, int32_t sum) {
    if constexpr (ChunkScales<Format>::kPairs) {
      int32_t& pair = start[block / 2 * start_stride];
      pair = block % 2 == 0 ? sum & 0xffff : pair | static_cast<int32_t>(static_cast<uint32_t>(sum) << 16);
    } else {
      start[block * start_stride] =
          Format::kMins ? __builtin_bit_cast(int32_t, static_cast<float>(sum)) : -Format::kZero * sum;
    }
  }
};

// To nearest even, by the largest magnitude of each group. Magnitudes are compared as integers: NaN is the largest
// and becomes the scale. A group whose numbers are all below 2^-100 counts as zeros.
template <class Format>
[[gnu::always_inline]] static inline void round_group(const float* x, GroupPlaces<Format> out) {
  constexpr float kRounder = 0x1.8p23f;  // leaves no bits for a fraction; the integer is in the lowest ones
  I32x top = {};
  for (int i = 0; i < Format::kGroup; i += kLanes) {
    const I32x magnitude = load_units(x + i) & 0x7fffffff;
    top = magnitude > top ? magnitude : top;
  }
  const int32_t most = largest(top);
  const bool none = most < __builtin_bit_cast(int32_t, 0x1p-100f);
  const float limit = __builtin_bit_cast(float, most);
  const F32x inverse = set(none ? 0 : 127 / limit);
  *out.scale = none ? 0 : limit / 127;
  for (int b = 0; b < Format::kGroup / Format::kBlock; ++b) {
    I32x sums = {};
    for (int i = b * Format::kBlock; i < (b + 1) * Format::kBlock; i += kLanes) {
      const I32x rounded = __builtin_bit_cast(I32x, add(mul(load(x + i), inverse), set(kRounder)));
      store_bytes(out.codes + i / out.tile_codes * out.tile_stride + i % out.tile_codes, rounded);
      sums += (rounded << 24) >> 24;
    }
    out.put_sum(b, sum(sums));
  }
}

template <class Format>
static void prepare_codes(const float* x_K, int64_t K, void* out) noexcept {
  auto* group = static_cast<InputGroup<Format>*>(out);
  for (int64_t k = 0; k < K; k += Format::kGroup, ++group)
    round_group<Format>(x_K + k, {.scale = &group->scale,
                                  .start = group->start,
                                  .start_stride = 1,
                                  .codes = group->codes,
                                  .tile_codes = Format::kGroup,
                                  .tile_stride = 0});
}

template <class Format>
static void rounding_rest(const float* x_K, int64_t K, float* rest_K) noexcept {
  for (int64_t k = 0; k < K; k += Format::kGroup) {
    InputGroup<Format> group;
    prepare_codes<Format>(x_K + k, Format::kGroup, &group);
    for (int i = 0; i < Format::kGroup; ++i)
      rest_K[k + i] = x_K[k + i] - group.scale * static_cast<float>(group.codes[i]);
  }
}

// -- Codes in panels. A run of 32 inputs is `bits` rows of 32 bits per column. Byte c of row j < 4 holds inputs
//    4j + c (low half) and 16 + 4j + c (high half); a fifth bit of input 4u + c is bit u of byte c of one more row,
//    two more bits of input 16h + 4i + c are bits 2i, 2i + 1 of byte c of row 4 + h. Eight bits are bytes as they
//    are.

constexpr int kRowBytes = kQuantColumns * 4;

// Inputs 4 * unit … + 3 of kLanes columns, a byte each; `run` points at the first of these columns. Four bits of the
// high half may stay in place, 16 times as large.
template <int bits, int unit, bool in_place = false>
static I32x codes_of(const char* run) {
  if constexpr (bits == 8) return load_units(run + unit * kRowBytes);
  I32x codes = load_units(run + unit % 4 * kRowBytes);
  if constexpr (in_place) {
    static_assert(bits == 4 && unit >= 4);
    return codes & static_cast<int32_t>(0xf0f0f0f0);
  }
  codes = (unit < 4 ? codes : codes >> 4) & 0x0f0f0f0f;
  if constexpr (bits == 5) {
    const I32x high = load_units(run + 4 * kRowBytes);
    codes |= (unit < 4 ? high << (unit < 4 ? 4 - unit : 0) : high >> (unit < 4 ? 0 : unit - 4)) & 0x10101010;
  } else if constexpr (bits == 6) {
    constexpr int place = 2 * (unit % 4);
    const I32x high = load_units(run + (4 + unit / 4) * kRowBytes);
    codes |= (place < 4 ? high << (place < 4 ? 4 - place : 0) : high >> (place < 4 ? 0 : place - 4)) & 0x30303030;
  }
  return codes;
}

// One run of one row, as the bytes of its `bits` rows.
template <int bits>
static void put_run(const uint8_t* codes, uint8_t* out) {
  if constexpr (bits == 8) {
    __builtin_memcpy(out, codes, 32);
    return;
  }
  put_bytes(out, (load_bytes(codes) & 15) | load_bytes(codes + 16) << 4);
  // The bits above, of the four bytes of a unit at a time.
  constexpr int kHigh = bits - 4, kUnits = kHigh > 0 ? 8 / kHigh : 8;  // to a row
  constexpr uint32_t kMask = ((1u << kHigh) - 1) * 0x01010101u;
  for (int row = 0; row < kHigh; ++row) {
    uint32_t high = 0;
    for (int u = 0; u < kUnits; ++u) {
      uint32_t unit;
      __builtin_memcpy(&unit, codes + 4 * (row * kUnits + u), 4);
      high |= (unit >> 4 & kMask) << (kHigh * u);
    }
    __builtin_memcpy(out + 16 + 4 * row, &high, 4);
  }
}

// A chunk of a panel: its header, then its runs.
template <class Format>
static void pack_chunk(const PanelRows& r, int64_t k, int inputs, char* chunk) {
  constexpr int kRun = 4 * Format::kBits;  // bytes per column
  constexpr int kStored = Format::kStoredInputs;
  const int header_bytes = inputs / kStored * Format::kHeaderBytes * kQuantColumns,
            units = inputs / 32 * Format::kBits;
  __builtin_memset(chunk, 0, static_cast<size_t>(header_bytes));
  for (int n = 0; n < kQuantColumns; n += kLanes) {
    alignas(64) uint8_t runs[kLanes][kChunkInputs / 32 * kRun];
    const int high = r.rows < n ? 0 : r.rows - n < kLanes ? r.rows - n : kLanes;
    for (int i = 0; i < high; ++i) {
      const auto* stored =
          static_cast<const uint8_t*>(r.w) + (n + i) * r.w_stride_bytes + k / kStored * Format::kStoredBytes;
      char* header = chunk;
      uint8_t codes[kStored];
      for (int at = 0; at < inputs; at += kStored, stored += Format::kStoredBytes) {
        Format::read(stored, n + i, header, codes);
        for (int run = 0; run < kStored / 32; ++run)
          put_run<Format::kBits>(codes + 32 * run, runs[i] + (at / 32 + run) * kRun);
        header += Format::kHeaderBytes * kQuantColumns;
      }
    }
    char* out = chunk + header_bytes + n * 4;
    for (int u = 0; u < units; u += kLanes) {
      const int wide = units - u < kLanes ? units - u : kLanes;
      F32x square[kLanes];
      load_square(reinterpret_cast<const char*>(runs[0]) + 4 * u, sizeof(runs[0]), high, wide, square);
      for (int i = 0; i < wide; ++i, out += kRowBytes) store(reinterpret_cast<float*>(out), square[i]);
    }
  }
}

template <class Format>
static void pack_quantized(const PanelRows& r, void* panel) noexcept {
  auto* chunk = static_cast<char*>(panel);
  for (int64_t k = 0; k < r.K; k += kChunkInputs) {
    const int inputs = static_cast<int>(r.K - k < kChunkInputs ? r.K - k : kChunkInputs);
    pack_chunk<Format>(r, k, inputs, chunk);
    chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  }
}

// One column of a panel. The product is exact, so that only the addition rounds.
template <class Format>
static void unpack_quantized(const void* panel, int64_t K, int column, float* w_K) noexcept {
  const auto* chunk = static_cast<const char*>(panel);
  for (int64_t k = 0; k < K; k += kChunkInputs) {
    const int inputs = static_cast<int>(K - k < kChunkInputs ? K - k : kChunkInputs);
    ChunkScales<Format> scales;
    Format::take_apart(chunk, inputs, scales);
    const char* runs = chunk + inputs / Format::kStoredInputs * Format::kHeaderBytes * kQuantColumns;
    for (int i = 0; i < inputs; ++i) {
      const auto* run =
          reinterpret_cast<const uint8_t*>(runs) + i / 32 * Format::kBits * kRowBytes + column * 4 + i % 4;
      const int unit = i % 32 / 4, block = i / Format::kBlock;
      int code = run[unit % 4 * kRowBytes] >> (unit / 4 * 4) & 15;
      if (Format::kBits == 5) code |= (run[4 * kRowBytes] >> unit & 1) << 4;
      if (Format::kBits == 6) code |= (run[(4 + unit / 4) * kRowBytes] >> (2 * (unit % 4)) & 3) << 4;
      if (Format::kBits == 8) code = run[unit * kRowBytes];
      const float number = scales.factor(block, column) * static_cast<float>(code - Format::kZero);
      w_K[k + i] = Format::kMins ? number + scales.addend(block, column) : number;
    }
    chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  }
}

}  // namespace
}  // namespace cachalot
