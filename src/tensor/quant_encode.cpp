#include "tensor/quant_encode.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "tensor/quant_blocks.h"
#include "tensor/quant_fit.h"
#include "tensor/quant_reach.h"

namespace cachalot {
namespace {

using namespace quant_fit;
using Out = uint8_t*;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float to_half(float v) { return f16_to_f32(f32_to_f16(std::clamp(v, -kLargestHalf, kLargestHalf))); }

void put_u16(Out b, uint16_t v) {
  b[0] = static_cast<uint8_t>(v);
  b[1] = static_cast<uint8_t>(v >> 8);
}
void put_half(Out b, float v) { put_u16(b, f32_to_f16(v)); }
void put_u32(Out b, uint32_t v) {
  put_u16(b, static_cast<uint16_t>(v));
  put_u16(b + 2, static_cast<uint16_t>(v >> 16));
}
unsigned bits(float code) { return static_cast<unsigned>(static_cast<int>(code)); }

// ---- blocks of 32 with an f16 scale of their own

// The scale must be an f16, so the alternation goes on from the rounded one; neighbours in f16 are tried as well.
Line half_scale(const Part<32>& part, Codes codes) {
  const Fit fit = fit_scale(part, codes, 6);
  Fit best = {{to_half(fit.line.scale), 0}, 0};
  best.error = error_of(part, best.line, codes);
  for (int round = 0; round < 2; ++round) {
    const float before = best.error;
    const Line again = refit_scale(part, best.line, codes);
    offer(part, {to_half(again.scale), 0}, codes, best);
    if (!(best.error < before)) break;
  }
  offer(part, {0, 0}, codes, best);
  return best.line;
}

// Scale and offset are two f16; the offset is chosen anew for the rounded scale.
Line half_line(const Part<32>& part, Codes codes) {
  const auto rounded = [&](Line line) {
    const float scale = to_half(line.scale);
    const Line moved = {scale, line.offset};
    float q[32], weight = 0, gap = 0;
    codes_of(part, line, codes, q);
    for (int i = 0; i < 32; ++i) weight += part.w[i], gap += part.w[i] * (part.x[i] - scale * q[i]);
    return Line{scale, to_half(weight > 0 ? gap / weight : moved.offset)};
  };
  Fit best = {rounded(fit_line(part, codes, kLargestHalf, 4).line), 0};
  best.error = error_of(part, best.line, codes);
  for (int round = 0; round < 2; ++round) {
    const float before = best.error;
    offer(part, rounded(refit_line(part, best.line, codes, kLargestHalf)), codes, best);
    if (!(best.error < before)) break;
  }
  return best.line;
}

// Nibbles of a block of 32: element i low and element i + 16 high in byte i.
void put_nibbles(Out b, const float* q, float bias) {
  for (int i = 0; i < 16; ++i)
    b[i] = static_cast<uint8_t>((bits(q[i] + bias) & 15) | (bits(q[i + 16] + bias) & 15) << 4);
}
uint32_t fifth_bits(const float* q, float bias) {
  uint32_t high = 0;
  for (int i = 0; i < 32; ++i) high |= (bits(q[i] + bias) >> 4 & 1) << i;
  return high;
}

void q8_0(const Part<32>& part, Out b) {
  constexpr Codes codes = {-127, 127};
  const float extreme = std::fabs(largest(part));
  // All f16 scales that put the extreme on code 127: 8 to 16, fewer where f16 is subnormal, where the next larger
  // serves.
  Fit best = {{0, 0}, kInfinity};
  for (uint16_t half = f32_to_f16(to_half(extreme / 126.5f)); half > 0; --half) {
    const float scale = f16_to_f32(half);
    if (scale * 127.5f < extreme) break;
    if (scale * 126.5f > extreme) continue;  // rounded up past it: the extreme would have code 126
    offer(part, {scale, 0}, codes, best);
  }
  if (best.error == kInfinity && extreme > 0) {
    uint16_t half = f32_to_f16(to_half(extreme / 127));
    if (f16_to_f32(half) * 127.5f < extreme && half < 0x7bff) ++half;
    best.line.scale = f16_to_f32(half);
  }
  float q[32];
  codes_of(part, best.line, codes, q);
  put_half(b, best.line.scale);
  for (int i = 0; i < 32; ++i) b[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(q[i]));
}

void q4_0(const Part<32>& part, Out b) {
  const Line line = half_scale(part, {-8, 7});
  float q[32];
  codes_of(part, line, {-8, 7}, q);
  put_half(b, line.scale);
  put_nibbles(b + 2, q, 8);
}

void q5_0(const Part<32>& part, Out b) {
  const Line line = half_scale(part, {-16, 15});
  float q[32];
  codes_of(part, line, {-16, 15}, q);
  put_half(b, line.scale);
  put_u32(b + 2, fifth_bits(q, 16));
  put_nibbles(b + 6, q, 16);
}

void q4_1(const Part<32>& part, Out b) {
  const Line line = half_line(part, {0, 15});
  float q[32];
  codes_of(part, line, {0, 15}, q);
  put_half(b, line.scale);
  put_half(b + 2, line.offset);
  put_nibbles(b + 4, q, 0);
}

void q5_1(const Part<32>& part, Out b) {
  const Line line = half_line(part, {0, 31});
  float q[32];
  codes_of(part, line, {0, 31}, q);
  put_half(b, line.scale);
  put_half(b + 2, line.offset);
  put_u32(b + 4, fifth_bits(q, 0));
  put_nibbles(b + 8, q, 0);
}

// ---- iq4_nl: 16 unequally spaced values

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The nearest of the 16 values for every integer from -128 to 127.
constexpr std::array<uint8_t, 256> kIq4Nearest = [] {
  std::array<uint8_t, 256> nearest_code{};
  for (size_t i = 0; i < nearest_code.size(); ++i) {
    const int v = static_cast<int>(i) - 128;
    int best = 0;
    for (int code = 1; code < 16; ++code) {
      const int now = v - kIq4Values[code], before = v - kIq4Values[best];
      if (now * now < before * before) best = code;
    }
    nearest_code[i] = static_cast<uint8_t>(best);
  }
  return nearest_code;
}();

struct Iq4Fit {
  float scale = 0, error = kInfinity;
  uint8_t code[32] = {};
};

// Codes for `scale`, their error, and in `refitted` the best scale for these codes.
Iq4Fit iq4_at(const Part<32>& part, float scale, float& refitted) {
  Iq4Fit fit{.scale = scale, .error = 0};
  const float inverse = inverse_of(scale);
  float xv = 0, vv = 0;
  for (int i = 0; i < 32; ++i) {
    const float v = std::clamp(part.x[i] * inverse, -128.0f, 127.0f);
    fit.code[i] = kIq4Nearest[static_cast<size_t>(std::lrintf(v) + 128)];
    const float value = kIq4Values[fit.code[i]], miss = part.x[i] - scale * value;
    fit.error += part.w[i] * miss * miss;
    xv += part.w[i] * part.x[i] * value;
    vv += part.w[i] * value * value;
  }
  refitted = vv > 0 ? to_half(xv / vv) : scale;
  return fit;
}

void iq4_nl(const Part<32>& part, Out b) {
  const float extreme = largest(part);
  float refitted = 0;
  Iq4Fit best = iq4_at(part, 0, refitted);
  for (int k = 0; k < 12; ++k) {
    const int step = k / 2;
    const float lands_at = (k % 2 ? 108.0f : -121.0f) * (1 + 0.06f * static_cast<float>(step));
    float scale = to_half(extreme / lands_at);
    for (int round = 0; round < 3; ++round) {
      const Iq4Fit fit = iq4_at(part, scale, refitted);
      if (fit.error < best.error) best = fit;
      if (refitted == scale) break;
      scale = refitted;
    }
  }
  put_half(b, best.scale);
  for (int i = 0; i < 16; ++i) b[2 + i] = static_cast<uint8_t>(best.code[i] | best.code[i + 16] << 4);
}

// ---- superblocks of 256: a small integer scale (and minimum) per part, an f16 over all of them

constexpr int kSuper = 256;

// What the parts of a superblock share and own.
template <int parts>
struct Super {
  float d = 0, dmin = 0;                        // f16
  std::array<float, parts> scale{}, minimum{};  // small integers
  float error = kInfinity;

  Line line(int k) const { return {d * scale[k], -dmin * minimum[k]}; }
};

template <int N>
using Parts = std::array<Part<N>, kSuper / N>;

// For the codes that `super` gives: the best d and dmin together, as f16. Sums in f64.
template <int N>
void refit_shared(const Parts<N>& part, Codes codes, Super<kSuper / N>& super) {
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // a = scale * code, b = -minimum
  for (int k = 0; k < kSuper / N; ++k) {
    alignas(16) float q[N];
    codes_of(part[k], super.line(k), codes, q);
    Lanes w_sum = all(0), q_sum = all(0), x_sum = all(0), qq = all(0), xq = all(0);
    for (int i = 0; i < N; i += 4) {
      const Lanes w = load(part[k].w + i), x = load(part[k].x + i), wq = w * load(q + i);
      w_sum += w, q_sum += wq, x_sum += w * x, qq += wq * load(q + i), xq += wq * x;
    }
    const double scale = super.scale[k], minus = -super.minimum[k];
    aa += scale * scale * sum(qq), ab += scale * minus * sum(q_sum), bb += minus * minus * sum(w_sum);
    xa += scale * sum(xq), xb += minus * sum(x_sum);
  }
  const double det = aa * bb - ab * ab;
  if (bb > 0 && det > 1e-9 * aa * bb) {
    const double d = (xa * bb - xb * ab) / det, dmin = (xb * aa - xa * ab) / det;
    if (d > 0 && dmin > 0) super.d = to_half(static_cast<float>(d)), super.dmin = to_half(static_cast<float>(dmin));
  } else if (aa > 0) {
    super.d = to_half(static_cast<float>((xa - super.dmin * ab) / aa));
  }
}

struct ScaleRange {
  float low, high;  // of the parts' integer scales
  float min_high;   // of the parts' integer minimums; 0: there are none
};

// Chooses the integers of each part for the shared d and dmin: those nearest to `wanted` and, where it pays,
// neighbours.
template <int N>
void choose_integers(const Parts<N>& part, Codes codes, ScaleRange range, const std::array<Line, kSuper / N>& wanted,
                     Super<kSuper / N>& super) {
  super.error = 0;
  for (int k = 0; k < kSuper / N; ++k) {
    const float scale = std::nearbyint(wanted[k].scale * inverse_of(super.d));
    float best_error = kInfinity, best_scale = 0, best_minimum = 0;
    for (int ds = -1; ds <= 1; ++ds) {
      const float s = std::clamp(scale + static_cast<float>(ds), range.low, range.high);
      const float centre = std::nearbyint(-wanted[k].offset * inverse_of(super.dmin));
      for (int dm = range.min_high > 0 ? -1 : 0; dm <= (range.min_high > 0 ? 1 : 0); ++dm) {
        const float m = std::clamp(centre + static_cast<float>(dm), 0.0f, range.min_high);
        const float error = error_of(part[k], {super.d * s, -super.dmin * m}, codes);
        if (error < best_error) best_error = error, best_scale = s, best_minimum = m;
      }
    }
    super.scale[k] = best_scale, super.minimum[k] = best_minimum;
    super.error += best_error;
  }
}

template <int N>
Super<kSuper / N> fit_super(const Parts<N>& part, Codes codes, ScaleRange range) {
  constexpr int parts = kSuper / N;
  std::array<Line, parts> wanted;
  float extreme = 0, deepest = 0;
  for (int k = 0; k < parts; ++k) {
    wanted[k] = range.min_high > 0 ? fit_line(part[k], codes, 0, 4).line : fit_scale(part[k], codes, 8).line;
    if (std::fabs(wanted[k].scale) > std::fabs(extreme)) extreme = wanted[k].scale;
    deepest = std::max(deepest, -wanted[k].offset);
  }
  Super<parts> best;
  Super<parts> now;
  // The side with one integer more takes the sign of the largest scale.
  now.d = to_half(extreme / (range.low < 0 ? range.low : range.high));
  now.dmin = range.min_high > 0 ? to_half(deepest / range.min_high) : 0;
  for (int round = 0; round < 3; ++round) {
    choose_integers(part, codes, range, wanted, now);
    if (!(now.error < best.error)) break;
    best = now;
    const Super<parts> before = now;
    refit_shared(part, codes, now);
    if (now.d == before.d && now.dmin == before.dmin) break;
  }
  return best;
}

template <int N>
void super_codes(const Parts<N>& part, Codes codes, const Super<kSuper / N>& super, float* q) {
  for (int k = 0; k < kSuper / N; ++k, q += N) codes_of(part[k], super.line(k), codes, q);
}

// The 12 bytes of 8 pairs of 6-bit numbers (q4_k, q5_k).
void put_six_bit_pairs(Out b, const Super<8>& super) {
  for (int k = 0; k < 4; ++k) {
    const unsigned scale = bits(super.scale[k]), minimum = bits(super.minimum[k]);
    const unsigned scale4 = bits(super.scale[k + 4]), minimum4 = bits(super.minimum[k + 4]);
    b[k] = static_cast<uint8_t>(scale | (scale4 >> 4) << 6);
    b[k + 4] = static_cast<uint8_t>(minimum | (minimum4 >> 4) << 6);
    b[k + 8] = static_cast<uint8_t>((scale4 & 15) | (minimum4 & 15) << 4);
  }
}

void q2_k(const Parts<16>& part, Out b) {
  const auto super = fit_super<16>(part, {0, 3}, {0, 15, 15});
  float q[kSuper];
  super_codes<16>(part, {0, 3}, super, q);
  for (int k = 0; k < 16; ++k) b[k] = static_cast<uint8_t>(bits(super.scale[k]) | bits(super.minimum[k]) << 4);
  std::memset(b + 16, 0, 64);
  for (int i = 0; i < kSuper; ++i)  // 128 elements: four runs of 32, each two bits higher in the same 32 bytes
    b[16 + i / 128 * 32 + i % 32] |= static_cast<uint8_t>(bits(q[i]) << (i % 128 / 32 * 2));
  put_half(b + 80, super.d);
  put_half(b + 82, super.dmin);
}

void q3_k(const Parts<16>& part, Out b) {
  const auto super = fit_super<16>(part, {-4, 3}, {-32, 31, 0});
  float q[kSuper];
  super_codes<16>(part, {-4, 3}, super, q);
  std::memset(b, 0, 108);
  for (int i = 0; i < kSuper; ++i) {
    const unsigned code = bits(q[i] + 4);
    b[i % 32] |= static_cast<uint8_t>((code >> 2) << (i / 32));
    b[32 + i / 128 * 32 + i % 32] |= static_cast<uint8_t>((code & 3) << (i % 128 / 32 * 2));
  }
  for (int k = 0; k < 16; ++k) {
    const unsigned scale = bits(super.scale[k] + 32);
    b[96 + k % 8] |= static_cast<uint8_t>((scale & 15) << (k / 8 * 4));
    b[104 + k % 4] |= static_cast<uint8_t>((scale >> 4) << (k / 4 * 2));
  }
  put_half(b + 108, super.d);
}

void q4_k(const Parts<32>& part, Out b) {
  const auto super = fit_super<32>(part, {0, 15}, {0, 63, 63});
  float q[kSuper];
  super_codes<32>(part, {0, 15}, super, q);
  put_half(b, super.d);
  put_half(b + 2, super.dmin);
  put_six_bit_pairs(b + 4, super);
  for (int k = 0; k < 4; ++k)
    for (int i = 0; i < 32; ++i)
      b[16 + 32 * k + i] = static_cast<uint8_t>(bits(q[64 * k + i]) | bits(q[64 * k + 32 + i]) << 4);
}

void q5_k(const Parts<32>& part, Out b) {
  const auto super = fit_super<32>(part, {0, 31}, {0, 63, 63});
  float q[kSuper];
  super_codes<32>(part, {0, 31}, super, q);
  put_half(b, super.d);
  put_half(b + 2, super.dmin);
  put_six_bit_pairs(b + 4, super);
  std::memset(b + 16, 0, 160);
  for (int i = 0; i < kSuper; ++i) {
    const int k = i / 32;
    b[16 + i % 32] |= static_cast<uint8_t>((bits(q[i]) >> 4) << k);
    b[48 + k / 2 * 32 + i % 32] |= static_cast<uint8_t>((bits(q[i]) & 15) << (k % 2 * 4));
  }
}

void q6_k(const Parts<16>& part, Out b) {
  const auto super = fit_super<16>(part, {-32, 31}, {-128, 127, 0});
  float q[kSuper];
  super_codes<16>(part, {-32, 31}, super, q);
  std::memset(b, 0, 192);
  for (int i = 0; i < kSuper; ++i) {  // 128 elements: four runs of 32, low nibbles in 64 bytes, high pairs in 32
    const unsigned code = bits(q[i] + 32);
    const int half = i / 128, run = i % 128 / 32, at = i % 32;
    b[half * 64 + run % 2 * 32 + at] |= static_cast<uint8_t>((code & 15) << (run / 2 * 4));
    b[128 + half * 32 + at] |= static_cast<uint8_t>((code >> 4) << (run * 2));
  }
  for (int k = 0; k < 16; ++k) b[192 + k] = static_cast<uint8_t>(static_cast<int8_t>(super.scale[k]));
  put_half(b + 208, super.d);
}

// ---- from a caller's row to blocks

struct Row {
  std::span<const float> x;
  const float* importance;  // null: none
  Out bytes;
};

// Blocks of `parts` parts of N, each encoded by `encode`.
template <int N, size_t parts, typename Encode>
std::optional<size_t> blocks(DType type, Row row, Encode encode) {
  const Reach reach = reach_of(type);
  const int block_bytes = info(type).block_bytes;
  std::optional<size_t> not_held;
  for (size_t at = 0; at < row.x.size(); at += N * parts, row.bytes += block_bytes) {
    std::array<Part<N>, parts> part;
    const auto index = fill_numbers(part, row.x.data() + at, reach);
    if (index && !not_held) not_held = at + *index;
    fill_weights<N>(part, row.importance ? row.importance + at : nullptr);
    encode(part, row.bytes);
  }
  return not_held;
}

template <void (*encode)(const Part<32>&, Out)>
std::optional<size_t> small_blocks(DType type, Row row) {
  return blocks<32, 1>(type, row, [](const auto& part, Out bytes) { encode(part[0], bytes); });
}

template <int N, void (*encode)(const Parts<N>&, Out)>
std::optional<size_t> super_blocks(DType type, Row row) {
  return blocks<N, kSuper / N>(type, row, encode);
}

// Halves of which those with all bits of `exponent` are no finite numbers.
template <uint16_t (*encode)(float), uint16_t exponent>
std::optional<size_t> halves(Row row) {
  std::optional<size_t> not_held;
  for (size_t i = 0; i < row.x.size(); ++i) {
    const uint16_t half = encode(row.x[i]);
    if ((half & exponent) == exponent && !not_held) not_held = i;
    put_u16(row.bytes + 2 * i, half);
  }
  return not_held;
}

std::optional<size_t> copied(Row row) {
  if (!row.x.empty()) std::memcpy(row.bytes, row.x.data(), row.x.size_bytes());
  const auto odd = std::find_if_not(row.x.begin(), row.x.end(), [](float v) { return std::isfinite(v); });
  return odd == row.x.end() ? std::nullopt : std::optional(static_cast<size_t>(odd - row.x.begin()));
}

}  // namespace

bool can_quantize(DType type) {
  switch (type) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::q4_0:
    case DType::q4_1:
    case DType::q5_0:
    case DType::q5_1:
    case DType::q8_0:
    case DType::q2_k:
    case DType::q3_k:
    case DType::q4_k:
    case DType::q5_k:
    case DType::q6_k:
    case DType::iq4_nl: return true;
    default: return false;
  }
}

std::optional<size_t> quantize(DType type, std::span<const float> x, std::span<const float> importance,
                               std::span<std::byte> bytes) {
  CHECK(row_bytes(type, static_cast<int64_t>(x.size())) == static_cast<int64_t>(bytes.size()),
        "{} elements of {} in {}", x.size(), name(type), bytes.size());
  CHECK(importance.empty() || importance.size() == x.size(), "{} weights for {} elements", importance.size(),
        x.size());
  const Row row = {x, importance.empty() ? nullptr : importance.data(), reinterpret_cast<Out>(bytes.data())};
  switch (type) {
    case DType::f32: return copied(row);
    case DType::f16: return halves<f32_to_f16, 0x7c00>(row);
    case DType::bf16: return halves<f32_to_bf16, 0x7f80>(row);
    case DType::q4_0: return small_blocks<q4_0>(type, row);
    case DType::q4_1: return small_blocks<q4_1>(type, row);
    case DType::q5_0: return small_blocks<q5_0>(type, row);
    case DType::q5_1: return small_blocks<q5_1>(type, row);
    case DType::q8_0: return small_blocks<q8_0>(type, row);
    case DType::iq4_nl: return small_blocks<iq4_nl>(type, row);
    case DType::q2_k: return super_blocks<16, q2_k>(type, row);
    case DType::q3_k: return super_blocks<16, q3_k>(type, row);
    case DType::q4_k: return super_blocks<32, q4_k>(type, row);
    case DType::q5_k: return super_blocks<32, q5_k>(type, row);
    case DType::q6_k: return super_blocks<16, q6_k>(type, row);
    default: CHECK(false, "{} cannot be written", name(type));
  }
}

}  // namespace cachalot
