#include "tensor/quant_blocks.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace cachalot {

// Finite halves are rebiased by integers; a subnormal half becomes 2^-14 + its value first, where f32 is still exact.
float f16_to_f32(uint16_t value) {
  constexpr uint32_t rebias = 112u << 23;  // exponent bias 127 - 15
  constexpr uint32_t exponent = 0x1fu << 23;
  uint32_t bits = (value & 0x7fffu) << 13;
  const uint32_t stored_exponent = bits & exponent;
  bits += rebias;
  if (stored_exponent == exponent) {
    bits += rebias;  // infinity or NaN
  } else if (stored_exponent == 0) {
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(bits + (1u << 23)) - 0x1p-14f);
  }
  return std::bit_cast<float>(bits | (value & 0x8000u) << 16);
}

uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u, size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((size >> 13) & 0x3ffu));
  if (size >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // from 65520 on
  if (size < 0x38800000u) {
    // Below 2^-14 the steps are 2^-24, which is the distance of neighbours of 0.5: the sum rounds as it should.
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((size - (112u << 23) + 0xfffu + ((size >> 13) & 1)) >> 13));
}

namespace {

using Bytes = const uint8_t*;

Bytes at(Bytes b, int offset) { return b + offset; }
uint16_t u16_at(Bytes b) { return static_cast<uint16_t>(b[0] | b[1] << 8); }
uint32_t u32_at(Bytes b) { return u16_at(b) | static_cast<uint32_t>(u16_at(b + 2)) << 16; }
float half_at(Bytes b) { return f16_to_f32(u16_at(b)); }

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // E2M1, doubled

// S.1111.111 is NaN and there is no infinity ("e4m3fn").
constexpr std::array<float, 256> kF8E4m3 = [] {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) {
    const int exponent = (code >> 3) & 15, mantissa = code & 7;
    float size = exponent == 0 ? mantissa / 8.0f : 1 + mantissa / 8.0f;
    for (int e = exponent == 0 ? 1 : exponent; e < 7; ++e) size /= 2;
    for (int e = exponent; e > 7; --e) size *= 2;
    if ((code & 127) == 127) size = __builtin_nanf("");
    values[code] = code < 128 ? size : -size;
  }
  return values;
}();

// One block each; formulas in docs/formats.md. Every product is exact in f32 (an f16 has 11 bits, scale and quant at
// most 13 together), so only the addition of a minimum rounds, once, and the order of operations does not matter.

void q4_0(Bytes b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

void q4_1(Bytes b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(b[4 + i] & 15) + m;
    y[i + 16] = d * static_cast<float>(b[4 + i] >> 4) + m;
  }
}

void q5_0(Bytes b, float* y) {
  const float d = half_at(b);
  const uint32_t high = u32_at(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(static_cast<int>((b[6 + i] & 15u) | (high >> i & 1) << 4) - 16);
    y[i + 16] = d * static_cast<float>(static_cast<int>((b[6 + i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
  }
}

void q5_1(Bytes b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  const uint32_t high = u32_at(b + 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(static_cast<int>((b[8 + i] & 15u) | (high >> i & 1) << 4)) + m;
    y[i + 16] = d * static_cast<float>(static_cast<int>((b[8 + i] >> 4) | (high >> (i + 16) & 1) << 4)) + m;
  }
}

void q8_0(Bytes b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

void iq4_nl(Bytes b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * kIq4Values[b[2 + i] & 15];
    y[i + 16] = d * kIq4Values[b[2 + i] >> 4];
  }
}

void mxfp4(Bytes b, float* y) {
  // 2^(e - 128), subnormal for e < 2
  const float d = std::bit_cast<float>(b[0] < 2 ? 0x00200000u << b[0] : (b[0] - 1u) << 23);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * kMxfp4Values[b[1 + i] & 15];
    y[i + 16] = d * kMxfp4Values[b[1 + i] >> 4];
  }
}

void q2_k(Bytes b, float* y) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int part = 0; part < 16; ++part) {  // 16 elements with one scale and one minimum
    const int group = part / 8, shift = part % 8 / 2 * 2;
    const Bytes quants = at(b, 16 + 32 * group + part % 2 * 16);
    const float scale = d * static_cast<float>(b[part] & 15), minimum = dmin * static_cast<float>(b[part] >> 4);
    for (int i = 0; i < 16; ++i) *y++ = scale * static_cast<float>(quants[i] >> shift & 3) - minimum;
  }
}

void q3_k(Bytes b, float* y) {
  const float d = half_at(b + 108);
  const Bytes scales = b + 96;
  for (int part = 0; part < 16; ++part) {
    const int low = part < 8 ? scales[part] & 15 : scales[part - 8] >> 4;
    const int high = scales[8 + part % 4] >> (2 * (part / 4)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const int group = part / 8, step = part % 8 / 2, first = part % 2 * 16;
    for (int i = first; i < first + 16; ++i) {
      const int quant = b[32 + 32 * group + i] >> (2 * step) & 3;
      *y++ = scale * static_cast<float>(b[i] >> (4 * group + step) & 1 ? quant : quant - 4);
    }
  }
}

struct ScaleAndMin {
  float scale, minimum;
};

// Pair k of the 8 pairs of 6-bit numbers that q4_k and q5_k keep in 12 bytes.
ScaleAndMin six_bit_pair(Bytes s, int k) {
  if (k < 4) return {static_cast<float>(s[k] & 63), static_cast<float>(s[k + 4] & 63)};
  return {static_cast<float>((s[k + 4] & 15) | (s[k - 4] >> 6) << 4),
          static_cast<float>((s[k + 4] >> 4) | (s[k] >> 6) << 4)};
}

void q4_k(Bytes b, float* y) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int k = 0; k < 8; ++k) {
    const auto pair = six_bit_pair(b + 4, k);
    const float scale = d * pair.scale, minimum = dmin * pair.minimum;
    const Bytes quants = at(b, 16 + 32 * (k / 2));
    const int shift = k % 2 * 4;
    for (int i = 0; i < 32; ++i) *y++ = scale * static_cast<float>(quants[i] >> shift & 15) - minimum;
  }
}

void q5_k(Bytes b, float* y) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int k = 0; k < 8; ++k) {
    const auto pair = six_bit_pair(b + 4, k);
    const float scale = d * pair.scale, minimum = dmin * pair.minimum;
    const Bytes high = b + 16, quants = at(b, 48 + 32 * (k / 2));
    const int shift = k % 2 * 4;
    for (int i = 0; i < 32; ++i)
      *y++ = scale * static_cast<float>((quants[i] >> shift & 15) | (high[i] >> k & 1) << 4) - minimum;
  }
}

void q6_k(Bytes b, float* y) {
  const float d = half_at(b + 208);
  for (int part = 0; part < 16; ++part) {
    const int group = part / 8, step = part % 8 / 2, first = part % 2 * 16;
    const Bytes low = at(b, 64 * group + first + step % 2 * 32), high = at(b, 128 + 32 * group + first);
    const int low_shift = step / 2 * 4, high_shift = 2 * step;
    const float scale = d * static_cast<float>(static_cast<int8_t>(b[192 + part]));
    for (int i = 0; i < 16; ++i)
      *y++ = scale * static_cast<float>(((low[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4) - 32);
  }
}

void iq4_xs(Bytes b, float* y) {
  const float d = half_at(b);
  const uint16_t high = u16_at(b + 2);
  for (int k = 0; k < 8; ++k, y += 32) {
    const int scale_bits = (b[4 + k / 2] >> (4 * (k % 2)) & 15) | (high >> (2 * k) & 3) << 4;
    const float scale = d * static_cast<float>(scale_bits - 32);
    const Bytes quants = at(b, 8 + 16 * k);
    for (int i = 0; i < 16; ++i) {
      y[i] = scale * kIq4Values[quants[i] & 15];
      y[i + 16] = scale * kIq4Values[quants[i] >> 4];
    }
  }
}

template <void (*decode)(Bytes, float*), int elements, int bytes>
void decode_blocks(Bytes b, std::span<float> y) {
  for (size_t at = 0; at < y.size(); at += elements, b += bytes) decode(b, y.data() + at);
}

template <float (*decode)(uint16_t)>
void decode_halves(Bytes b, std::span<float> y) {
  for (size_t i = 0; i < y.size(); ++i) y[i] = decode(u16_at(b + 2 * i));
}

void decode_f64(Bytes b, std::span<float> y) {
  for (size_t i = 0; i < y.size(); ++i) {
    double value;
    std::memcpy(&value, b + 8 * i, sizeof value);
    y[i] = static_cast<float>(value);
  }
}

}  // namespace

bool can_dequantize(DType type) {
  switch (type) {
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
    case DType::opaque: return false;
    default: return true;
  }
}

void dequantize(DType type, std::span<const std::byte> bytes, std::span<float> y) {
  CHECK(row_bytes(type, static_cast<int64_t>(y.size())) == static_cast<int64_t>(bytes.size()),
        "{} elements of {} in {}", y.size(), name(type), bytes.size());
  const auto* b = reinterpret_cast<Bytes>(bytes.data());
  switch (type) {
    case DType::f32:
      if (!y.empty()) std::memcpy(y.data(), b, bytes.size());
      return;
    case DType::f16: return decode_halves<f16_to_f32>(b, y);
    case DType::bf16: return decode_halves<bf16_to_f32>(b, y);
    case DType::f64: return decode_f64(b, y);
    case DType::f8_e4m3:
      for (size_t i = 0; i < y.size(); ++i) y[i] = kF8E4m3[b[i]];
      return;
    case DType::f8_e5m2:  // the upper byte of an f16
      for (size_t i = 0; i < y.size(); ++i) y[i] = f16_to_f32(static_cast<uint16_t>(b[i] << 8));
      return;
    case DType::q4_0: return decode_blocks<q4_0, 32, 18>(b, y);
    case DType::q4_1: return decode_blocks<q4_1, 32, 20>(b, y);
    case DType::q5_0: return decode_blocks<q5_0, 32, 22>(b, y);
    case DType::q5_1: return decode_blocks<q5_1, 32, 24>(b, y);
    case DType::q8_0: return decode_blocks<q8_0, 32, 34>(b, y);
    case DType::q2_k: return decode_blocks<q2_k, 256, 84>(b, y);
    case DType::q3_k: return decode_blocks<q3_k, 256, 110>(b, y);
    case DType::q4_k: return decode_blocks<q4_k, 256, 144>(b, y);
    case DType::q5_k: return decode_blocks<q5_k, 256, 176>(b, y);
    case DType::q6_k: return decode_blocks<q6_k, 256, 210>(b, y);
    case DType::iq4_nl: return decode_blocks<iq4_nl, 32, 18>(b, y);
    case DType::iq4_xs: return decode_blocks<iq4_xs, 256, 136>(b, y);
    case DType::mxfp4: return decode_blocks<mxfp4, 32, 17>(b, y);
    default: CHECK(false, "{} is no number format that can be dequantized", name(type));
  }
}

}  // namespace cachalot
