// The matrix product with weights in GGUF's blocks of integer codes and inputs rounded to 8 bits; panels and inputs
// in MatmulKernel of table.h. Per output, with block b of group g of the inputs:
//
//   t = sum over blocks b of g, ascending:  factor[b] * (sum over k of b of (code[k] - zero) * q[k])
//                                           and, where the format has minimums, + addend[b] * (sum over k of b of
//                                           q[k])
//   y = fma(scale[g], t, y), groups ascending
//
// The inner sums are integers and therefore exact in any order; t and y are chains of fma. Neither depends on which
// rows come together, so a row's result does not depend on its company.
//
// The tricks. Codes are unsigned and inputs signed, as the processors' byte products want them; the zero point is
// paid by the row: its sums start from -zero * (sum of q), computed once when the row is prepared. Lanes are outputs,
// so four inputs of a row are one broadcast from memory and nothing is ever added across lanes. Sums stay in
// registers for a block, t and y pass through the first cache: with 32 inputs to a block that is one operation in
// ten.
//
// A few rows take the codes apart in registers and read memory in order. More of them take a chunk apart once, to
// bytes on the stack, and pass over that.
//
// Error bound against f64 of the same codes, scales and prepared inputs, e = 2^-24, B blocks and G groups in a row:
// (B/G * (mins ? 2 : 1) + G + 2) e sum |x| (|factor (code - zero)| + |addend|), twice that where fma() rounds twice.

constexpr int kQuantColumns = 64;
constexpr int kChunkInputs = 256;                     // taken apart at once: 16 KiB of bytes
constexpr int kRunInputs = 32;                        // codes are laid out in runs of so many
constexpr int kQuantRows = kRegisters == 32 ? 6 : 4;  // at once
constexpr int64_t kRowsAtOnce = 192;                  // of one pass over a panel
constexpr int64_t kAskAhead = 4096;                   // bytes; docs/log.md
static_assert(kQuantColumns % (4 * kLanes) == 0);

static uint16_t half_at(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// kQuantColumns numbers.
static void widen_halves(const uint16_t* x, float* y) {
  for (int n = 0; n < kQuantColumns; n += kLanes) store(y + n, load_halves(x + n));
}

// -- Formats. Each reads one stored block: the header's numbers go to column `column` of the panel's header, the
//    codes are returned as bytes from 0. factors() turns the header of a chunk into [block][column] numbers.

// q8_0, q4_0, q5_0 (zero in the middle), q4_1, q5_1 (a minimum): 32 inputs with one f16 factor.
template <int bits, int zero, bool mins>
struct ShortBlocks {
  static constexpr int kBits = bits, kZero = zero, kStoredInputs = 32, kBlock = 32, kGroup = 32;
  static constexpr bool kMins = mins;
  static constexpr int kHeaderBytes = mins ? 4 : 2, kStoredBytes = kHeaderBytes + 4 * bits;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* codes) {
    auto* halves = reinterpret_cast<uint16_t*>(header);
    halves[column] = half_at(stored);
    if (mins) halves[kQuantColumns + column] = half_at(stored + 2);
    stored += kHeaderBytes;
    if constexpr (bits == 8) {
      for (int i = 0; i < 32; ++i) codes[i] = stored[i] ^ 0x80;
    } else {
      const uint32_t high = bits == 5 ? half_at(stored) | static_cast<uint32_t>(half_at(stored + 2)) << 16 : 0;
      if (bits == 5) stored += 4;
      for (int i = 0; i < 16; ++i) {
        codes[i] = static_cast<uint8_t>((stored[i] & 15) | (high >> i & 1) << 4);
        codes[i + 16] = static_cast<uint8_t>(stored[i] >> 4 | (high >> (i + 16) & 1) << 4);
      }
    }
  }
  static void factors(const char* header, int inputs, float* factors, float* addends) {
    const auto* halves = reinterpret_cast<const uint16_t*>(header);
    for (int b = 0; b < inputs / 32; ++b, halves += kHeaderBytes / 2 * kQuantColumns) {
      widen_halves(halves, factors + b * kQuantColumns);
      if (mins) widen_halves(halves + kQuantColumns, addends + b * kQuantColumns);
    }
  }
};

// q4_k, q5_k: 256 inputs with two f16 factors, of eight 6-bit scales and of eight 6-bit minimums. The header keeps
// the twelve bytes of scales as they are, byte by byte for all columns.
template <int bits>
struct LongBlocks {
  static constexpr int kBits = bits, kZero = 0, kStoredInputs = 256, kBlock = 32, kGroup = 128;
  static constexpr bool kMins = true;
  static constexpr int kHeaderBytes = 16, kStoredBytes = kHeaderBytes + 32 * bits;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* codes) {
    auto* halves = reinterpret_cast<uint16_t*>(header);
    halves[column] = half_at(stored);
    halves[kQuantColumns + column] = half_at(stored + 2);
    for (int i = 0; i < 12; ++i) header[(4 + i) * kQuantColumns + column] = static_cast<char>(stored[4 + i]);
    const uint8_t *high = stored + 16, *low = stored + (bits == 5 ? 48 : 16);
    for (int b = 0; b < 8; ++b, codes += 32)
      for (int i = 0; i < 32; ++i) {
        codes[i] = low[b / 2 * 32 + i] >> (b % 2 * 4) & 15;
        if (bits == 5) codes[i] = static_cast<uint8_t>(codes[i] | (high[i] >> b & 1) << 4);
      }
  }
  static void factors(const char* header, int, float* factors, float* addends) {
    float d[kQuantColumns], dmin[kQuantColumns];
    widen_halves(reinterpret_cast<const uint16_t*>(header), d);
    widen_halves(reinterpret_cast<const uint16_t*>(header) + kQuantColumns, dmin);
    const auto* scales = reinterpret_cast<const uint8_t*>(header) + 4 * kQuantColumns;
    for (int b = 0; b < 4; ++b)
      for (int n = 0; n < kQuantColumns; ++n) {
        const int first = scales[b * kQuantColumns + n], second = scales[(4 + b) * kQuantColumns + n],
                  rest = scales[(8 + b) * kQuantColumns + n];
        factors[b * kQuantColumns + n] = d[n] * static_cast<float>(first & 63);
        factors[(4 + b) * kQuantColumns + n] = d[n] * static_cast<float>((rest & 15) | (first >> 6) << 4);
        addends[b * kQuantColumns + n] = -dmin[n] * static_cast<float>(second & 63);
        addends[(4 + b) * kQuantColumns + n] = -dmin[n] * static_cast<float>(rest >> 4 | (second >> 6) << 4);
      }
  }
};

// q6_k: 256 inputs with an f16 factor of sixteen 8-bit scales.
struct SixBitBlocks {
  static constexpr int kBits = 6, kZero = 32, kStoredInputs = 256, kBlock = 16, kGroup = 128;
  static constexpr bool kMins = false;
  static constexpr int kHeaderBytes = 18, kStoredBytes = 210;

  static void read(const uint8_t* stored, int column, char* header, uint8_t* codes) {
    reinterpret_cast<uint16_t*>(header)[column] = half_at(stored + 208);
    for (int i = 0; i < 16; ++i) header[(2 + i) * kQuantColumns + column] = static_cast<char>(stored[192 + i]);
    for (int half = 0; half < 2; ++half, codes += 128) {
      const uint8_t *low = stored + 64 * half, *high = stored + 128 + 32 * half;
      for (int part = 0; part < 4; ++part)
        for (int i = 0; i < 32; ++i)
          codes[part * 32 + i] = static_cast<uint8_t>((low[part % 2 * 32 + i] >> (part / 2 * 4) & 15) |
                                                      (high[i] >> (2 * part) & 3) << 4);
    }
  }
  static void factors(const char* header, int, float* factors, float*) {
    float d[kQuantColumns];
    widen_halves(reinterpret_cast<const uint16_t*>(header), d);
    const auto* scales = reinterpret_cast<const int8_t*>(header) + 2 * kQuantColumns;
    for (int b = 0; b < 16; ++b)
      for (int n = 0; n < kQuantColumns; ++n)
        factors[b * kQuantColumns + n] = d[n] * static_cast<float>(scales[b * kQuantColumns + n]);
  }
};

// -- Inputs

// A group of one row: x[k] is scale * codes[k]. `start` is what the sums of a block begin with, or, for formats with
// minimums, the sum of the block's codes as f32.
template <class Format>
struct InputGroup {
  float scale;
  int32_t start[Format::kGroup / Format::kBlock];
  int8_t codes[Format::kGroup];
};

// To nearest even, by the largest magnitude of each group. Magnitudes are compared as integers: NaN is the largest
// and becomes the scale. A group whose numbers are all below 2^-100 counts as zeros.
template <class Format>
static void prepare_codes(const float* x_K, int64_t K, void* out) noexcept {
  constexpr float kRounder = 0x1.8p23f;  // leaves no bits for a fraction; the integer is in the lowest ones
  auto* group = static_cast<InputGroup<Format>*>(out);
  for (int64_t k = 0; k < K; k += Format::kGroup, ++group) {
    const float* x = x_K + k;
    uint32_t top = 0;
    for (int i = 0; i < Format::kGroup; ++i) {
      const uint32_t magnitude = __builtin_bit_cast(uint32_t, x[i]) & 0x7fffffff;
      top = magnitude > top ? magnitude : top;
    }
    const bool none = top < __builtin_bit_cast(uint32_t, 0x1p-100f);
    const float largest = __builtin_bit_cast(float, top), inverse = none ? 0 : 127 / largest;
    group->scale = none ? 0 : largest / 127;
    for (int i = 0; i < Format::kGroup; ++i)
      group->codes[i] = static_cast<int8_t>(__builtin_bit_cast(int32_t, x[i] * inverse + kRounder));
    for (int b = 0; b < Format::kGroup / Format::kBlock; ++b) {
      int32_t sum = 0;
      for (int i = 0; i < Format::kBlock; ++i) sum += group->codes[b * Format::kBlock + i];
      group->start[b] = Format::kMins ? __builtin_bit_cast(int32_t, static_cast<float>(sum)) : -Format::kZero * sum;
    }
  }
}

// -- Codes in panels. A run of 32 inputs is `bits` rows of 32 bits per column. Byte c of row j < 4 holds inputs
//    4j + c (low half) and 16 + 4j + c (high half); a fifth bit of input 4u + c is bit u of byte c of one more row,
//    two more bits of input 16h + 4i + c are bits 2i, 2i + 1 of byte c of row 4 + h. Eight bits are bytes as they
//    are.

constexpr int kRowBytes = kQuantColumns * 4;

// Inputs 4 * unit … + 3 of kLanes columns, a byte each; `run` points at the first of these columns.
template <int bits, int unit>
static I32x codes_of(const char* run) {
  if constexpr (bits == 8) return load_units(run + unit * kRowBytes);
  I32x codes = load_units(run + unit % 4 * kRowBytes);
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
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  if constexpr (bits == 5)
    for (int c = 0; c < 4; ++c) {
      uint8_t high = 0;
      for (int u = 0; u < 8; ++u) high = static_cast<uint8_t>(high | codes[4 * u + c] >> 4 << u);
      out[16 + c] = high;
    }
  if constexpr (bits == 6)
    for (int c = 0; c < 8; ++c) {
      const uint8_t* from = codes + c / 4 * 16 + c % 4;
      out[16 + c] = static_cast<uint8_t>(from[0] >> 4 | from[4] >> 4 << 2 | from[8] >> 4 << 4 | from[12] >> 4 << 6);
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
static void pack_quantised(const PanelRows& r, void* panel) noexcept {
  auto* chunk = static_cast<char*>(panel);
  for (int64_t k = 0; k < r.K; k += kChunkInputs) {
    const int inputs = static_cast<int>(r.K - k < kChunkInputs ? r.K - k : kChunkInputs);
    pack_chunk<Format>(r, k, inputs, chunk);
    chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  }
}

// One column of a panel. The product is exact, so that only the addition rounds.
template <class Format>
static void unpack_quantised(const void* panel, int64_t K, int column, float* w_K) noexcept {
  const auto* chunk = static_cast<const char*>(panel);
  for (int64_t k = 0; k < K; k += kChunkInputs) {
    const int inputs = static_cast<int>(K - k < kChunkInputs ? K - k : kChunkInputs);
    float factors[kChunkInputs / Format::kBlock * kQuantColumns];
    float addends[Format::kMins ? kChunkInputs / Format::kBlock * kQuantColumns : 1];
    Format::factors(chunk, inputs, factors, addends);
    const char* runs = chunk + inputs / Format::kStoredInputs * Format::kHeaderBytes * kQuantColumns;
    for (int i = 0; i < inputs; ++i) {
      const auto* run =
          reinterpret_cast<const uint8_t*>(runs) + i / 32 * Format::kBits * kRowBytes + column * 4 + i % 4;
      const int unit = i % 32 / 4, at = i / Format::kBlock * kQuantColumns + column;
      int code = run[unit % 4 * kRowBytes] >> (unit / 4 * 4) & 15;
      if (Format::kBits == 5) code |= (run[4 * kRowBytes] >> unit & 1) << 4;
      if (Format::kBits == 6) code |= (run[(4 + unit / 4) * kRowBytes] >> (2 * (unit % 4)) & 3) << 4;
      if (Format::kBits == 8) code = run[unit * kRowBytes];
      const float number = factors[at] * static_cast<float>(code - Format::kZero);
      w_K[k + i] = Format::kMins ? number + addends[at] : number;
    }
    chunk += inputs / Format::kStoredInputs * Format::kStoredBytes * kQuantColumns;
  }
}

// -- The product

typedef uint8_t U8xWide __attribute__((vector_size(4 * kLanes)));

// A chunk of a panel with some rows. `runs` are packed, or taken apart to bytes.
struct QuantChunk {
  const char* x;
  int64_t x_stride_bytes;
  const char* runs;
  const float *factors, *addends;  // [block][kQuantColumns]
  int inputs;
};

// Units [unit, end) of a run, for all rows. Inlined and unrolled by force, here and below: left to itself gcc 12
// keeps the sums in memory.
template <int bits, class Dot, int unit, int end, int rows, int vectors>
[[gnu::always_inline]] static inline void add_dots(I32x (&sums)[rows][vectors], const int8_t* x,
                                                   int64_t x_stride_bytes, const char* run) {
  I32x w[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) w[v] = codes_of<bits, unit>(run + v * kLanes * 4);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const I32x x_r = repeat_unit(x + r * x_stride_bytes + 4 * unit);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = Dot::add(sums[r][v], w[v], x_r);
  }
  if constexpr (unit + 1 < end) add_dots<bits, Dot, unit + 1, end>(sums, x, x_stride_bytes, run);
}

// One block, of `count` units from unit `first` of its run on: block b of its group, `x` the group of the first row.
template <class Format, int bits, class Dot, int first, int count, int rows, int vectors>
[[gnu::always_inline]] static inline void add_block(const char* x, int64_t x_stride_bytes, const char* run,
                                                    const float* factors, const float* addends, int b,
                                                    F32x (&t)[rows][vectors]) {
  using Group = InputGroup<Format>;
  const auto group = [&](int r) { return reinterpret_cast<const Group*>(x + r * x_stride_bytes); };
  if constexpr (rows == 1 && first == 0) {  // memory is read once: the run that will be wanted then
#pragma GCC unroll 32
    for (int line = 0; line < bits * vectors * kLanes * 4; line += 64)
      __builtin_prefetch(run + kAskAhead + line, 0, 2);
  }
  I32x sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = Format::kMins ? I32x{} : repeat_unit(&group(r)->start[b]);
  add_dots<bits, Dot, first, first + count>(sums, group(0)->codes + b / (8 / count) * 32, x_stride_bytes, run);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const F32x sum = __builtin_convertvector(sums[r][v], F32x), factor = load(factors + v * kLanes);
      t[r][v] = b == 0 ? mul(factor, sum) : fma(factor, sum, t[r][v]);
      if (Format::kMins)
        t[r][v] = fma(load(addends + v * kLanes), set(__builtin_bit_cast(float, group(r)->start[b])), t[r][v]);
    }
}

// A chunk for `rows` rows and `vectors` * kLanes columns, whose y is [rows][kQuantColumns].
template <class Format, int bits, class Dot, int rows, int vectors>
[[gnu::noinline]] static void add_chunk(const QuantChunk& c, float* y) {
  constexpr int kBlocks = Format::kGroup / Format::kBlock, kUnits = Format::kBlock / 4;
  F32x sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[r][v] = load(y + r * kQuantColumns + v * kLanes);
  const char *x = c.x, *run = c.runs;
  const int64_t stride = c.x_stride_bytes;
  const float *factors = c.factors, *addends = c.addends;
  for (int k = 0; k < c.inputs; k += Format::kGroup, x += sizeof(InputGroup<Format>)) {
    F32x t[rows][vectors];
#pragma GCC unroll 8
    for (int b = 0; b < kBlocks; ++b) {
      if (kUnits == 8 || b % 2 == 0)
        add_block<Format, bits, Dot, 0, kUnits>(x, stride, run, factors, addends, b, t);
      else
        add_block<Format, bits, Dot, 8 - kUnits, kUnits>(x, stride, run, factors, addends, b, t);
      if (kUnits == 8 || b % 2 == 1) run += bits * kRowBytes;
      factors += kQuantColumns, addends += kQuantColumns;
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sums[r][v] =
            fma(set(reinterpret_cast<const InputGroup<Format>*>(x + r * stride)->scale), t[r][v], sums[r][v]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(y + r * kQuantColumns + v * kLanes, sums[r][v]);
}

// Sums and results of so many vectors stay in registers together with what multiplies them. A row alone takes more
// columns at once: its sums would wait for themselves.
constexpr int vectors_for(int rows) { return rows <= kQuantRows / 2 ? 4 : 2; }

template <class Format, int bits, class Dot, int most>
static void add_chunk_of(int rows, int used, QuantChunk c, float* y) {
  if constexpr (most > 1) {
    if (rows < most) return add_chunk_of<Format, bits, Dot, most - 1>(rows, used, c, y);
  }
  constexpr int kVectors = vectors_for(most), kColumnsAtOnce = kVectors * kLanes;
  for (int column = 0; column < used; column += kColumnsAtOnce, y += kColumnsAtOnce) {
    add_chunk<Format, bits, Dot, most, kVectors>(c, y);
    c.runs += kColumnsAtOnce * 4, c.factors += kColumnsAtOnce, c.addends += Format::kMins ? kColumnsAtOnce : 0;
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

// Adds the chunk for as many of the rows, from the first on, as the instruction set takes by its own way of many
// rows; returns how many.
template <class Format, class Dot>
static int add_rows_together(int rows, QuantChunk c, float* y) {
  if constexpr (Dot::kRowsTogether > 0) {
    if constexpr (Format::kBlock >= Dot::kLeastBlock) {
      const int together = c.inputs % Dot::kInputsTogether == 0 ? rows - rows % Dot::kRowsTogether : 0;
      if (together == 0) return 0;
      alignas(64) char bytes[kChunkInputs * kQuantColumns];
      take_apart<Format>(c, bytes, Format::kZero);
      c.runs = bytes;
      Dot::template add_many<Format>(together, c, y);
      return together;
    }
  }
  return 0;
}

// A panel for some rows, whose y is [rows][kQuantColumns].
template <class Format, class Dot>
static void add_panel(const char* x, int64_t x_stride_bytes, int rows, const char* chunk, int64_t K, int used,
                      float* y) {
  for (int64_t k = 0; k < K; k += kChunkInputs) {
    const int inputs = static_cast<int>(K - k < kChunkInputs ? K - k : kChunkInputs);
    alignas(64) float factors[kChunkInputs / Format::kBlock * kQuantColumns];
    alignas(64) float addends[Format::kMins ? kChunkInputs / Format::kBlock * kQuantColumns : 1];
    Format::factors(chunk, inputs, factors, addends);
    QuantChunk c = {.x = x,
                    .x_stride_bytes = x_stride_bytes,
                    .runs = chunk + inputs / Format::kStoredInputs * Format::kHeaderBytes * kQuantColumns,
                    .factors = factors,
                    .addends = addends,
                    .inputs = inputs};
    const int together = add_rows_together<Format, Dot>(rows, c, y), rest = rows - together;
    float* y_rest = y + together * kQuantColumns;
    c.x += together * x_stride_bytes;
    if (rest <= apart_from_rows(Format::kBits)) {
      add_rows<Format, Format::kBits, Dot>(rest, used, c, y_rest);
    } else if constexpr (apart_from_rows(Format::kBits) < kRowsAtOnce) {
      alignas(64) char bytes[kChunkInputs * kQuantColumns];
      take_apart<Format>(c, bytes);
      c.runs = bytes;
      add_rows<Format, 8, Dot>(rest, used, c, y_rest);
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
    const int64_t parts = (left + kRowsAtOnce - 1) / kRowsAtOnce, equal = (left + parts - 1) / parts;
    const int64_t now = Dot::kRowsTogether == 0 || left < kRowsAtOnce ? equal : kRowsAtOnce;
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
static constexpr MatmulKernel quantised_kernel(DType type) {
  return {.weights = type,
          .inputs = DType::i8,
          .columns = kQuantColumns,
          .unit_inputs = 4,
          .block_inputs = kChunkInputs,
          .group_inputs = Format::kGroup,
          .group_bytes = sizeof(InputGroup<Format>),
          .prepare = prepare_codes<Format>,
          .tile = quant_tile<Format, Dot>,
          .pack = pack_quantised<Format>,
          .unpack = unpack_quantised<Format>};
}

template <class Dot>
static constexpr QuantisedKernels quantised_kernels() {
  return {quantised_kernel<ShortBlocks<8, 128, false>, Dot>(DType::q8_0),
          quantised_kernel<ShortBlocks<4, 8, false>, Dot>(DType::q4_0),
          quantised_kernel<ShortBlocks<4, 0, true>, Dot>(DType::q4_1),
          quantised_kernel<ShortBlocks<5, 16, false>, Dot>(DType::q5_0),
          quantised_kernel<ShortBlocks<5, 0, true>, Dot>(DType::q5_1),
          quantised_kernel<LongBlocks<4>, Dot>(DType::q4_k),
          quantised_kernel<LongBlocks<5>, Dot>(DType::q5_k),
          quantised_kernel<SixBitBlocks, Dot>(DType::q6_k)};
}
