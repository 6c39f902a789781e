// The primitives (see scalar.h) with AVX2, FMA and F16C: 8 lanes, 16 registers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile with -mavx2 -mfma -mf16c"
#endif
#ifdef CACHALOT_PRIMITIVES
#error "primitives of another instruction set came first"
#endif
#define CACHALOT_PRIMITIVES

namespace cachalot {
namespace {

constexpr int kLanes = 8;
constexpr int kRegisters = 16;
// matmul: 12 accumulators, 2 weights, 1 input. 3 × 4 and 4 × 3 leave no register for widened bf16 (docs/log.md).
constexpr int kTileRows = 6, kTileVectors = 2;

typedef __m256 F32x;

static F32x set(float value) { return _mm256_set1_ps(value); }
static F32x load(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
static void store(float* p, F32x a) { _mm256_storeu_ps(p, a); }

static __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static F32x load(const void* p, int n) { return _mm256_maskload_ps(static_cast<const float*>(p), first_lanes(n)); }
static void store(float* p, F32x a, int n) { _mm256_maskstore_ps(p, first_lanes(n), a); }
static void stream(float* p, F32x a) {
  store(p, a);
}  // half a line past the caches is three times slower than through them
static void finish_streams() {}

static F32x add(F32x a, F32x b) { return _mm256_add_ps(a, b); }
static F32x sub(F32x a, F32x b) { return _mm256_sub_ps(a, b); }
static F32x mul(F32x a, F32x b) { return _mm256_mul_ps(a, b); }
static F32x div(F32x a, F32x b) { return _mm256_div_ps(a, b); }
static F32x fma(F32x a, F32x b, F32x c) { return _mm256_fmadd_ps(a, b, c); }
static F32x max(F32x a, F32x b) { return _mm256_max_ps(a, b); }
static F32x min(F32x a, F32x b) { return _mm256_min_ps(a, b); }
static float first(F32x a) { return _mm256_cvtss_f32(a); }

// Halves upon halves: 4 lanes, 2, 1.
static float sum(F32x a) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static float largest(F32x a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static F32x round(F32x a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// a * 2^n for integers n in [-252, 252], in two factors so that a subnormal result is rounded once.
static F32x times_power_of_two(F32x a, F32x n) {
  const __m256i power = _mm256_cvtps_epi32(n), bias = _mm256_set1_epi32(127);
  const __m256i half = _mm256_srai_epi32(power, 1), rest = _mm256_sub_epi32(power, half);
  const F32x first_factor = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const F32x second_factor = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
  return mul(mul(a, first_factor), second_factor);
}

static F32x widen_low(F32x units) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(units), 16)); }
static F32x widen_high(F32x units) {
  return _mm256_and_ps(units, _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(0xffff0000))));
}

static F32x arrange_e4m3(F32x units) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                                         0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  const __m256i halves = _mm256_shuffle_epi8(_mm256_castps_si256(units), order);
  return _mm256_castsi256_ps(_mm256_permute4x64_epi64(halves, 0xd8));
}
template <int part>
static F32x e4m3(const void* units) {
  __m128i code = _mm_loadu_si128(static_cast<const __m128i*>(units) + part / 2);
  if constexpr (part % 2 == 0) code = _mm_slli_epi16(code, 8);
  const __m128i places = _mm_set1_epi16(static_cast<int16_t>(0xbf80));
  return _mm256_cvtph_ps(_mm_and_si128(_mm_srai_epi16(code, 1), places));
}

static F32x load_halves(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }

typedef int32_t I32x __attribute__((vector_size(32)));
static I32x load_units(const void* p) {
  return reinterpret_cast<I32x>(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
static void store_units(void* p, I32x a) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), reinterpret_cast<__m256i>(a));
}
static I32x repeat_unit(const void* p) {
  int32_t unit;
  __builtin_memcpy(&unit, p, sizeof unit);
  return reinterpret_cast<I32x>(_mm256_set1_epi32(unit));
}
static void prefetch_line(const char* p) { asm volatile("prefetcht1 %0" ::"m"(*p)); }
template <int cache>
static void prefetch_line_after(I32x& first, const char* p) {
  if constexpr (cache == 1)
    asm volatile("prefetcht0 %1" : "+x"(first) : "m"(*p));
  else
    asm volatile("prefetcht1 %1" : "+x"(first) : "m"(*p));
}
static I32x widen_bytes(const uint8_t* p) {
  return reinterpret_cast<I32x>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
static I32x widen_bytes(const int8_t* p) {
  return reinterpret_cast<I32x>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
static void store_bytes(int8_t* p, I32x a) {
  const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i fours = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(a), first);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p),
                   _mm_unpacklo_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1)));
}
static int32_t largest(I32x a) {
  int32_t top = a[0];
  for (int i = 1; i < kLanes; ++i) top = a[i] > top ? a[i] : top;
  return top;
}
static int32_t sum(I32x a) {
  int32_t total = 0;
  for (int i = 0; i < kLanes; ++i) total += a[i];
  return total;
}
// Even and odd bytes as 16 bits each, since sums of pairs of byte products do not fit 16 bits.
struct GenericDot {
  static constexpr bool kPairsOfBytes = true;
  // Sums of pairs of byte products fit 16 bits while codes are below 130.
  template <int most>
  static I32x add(I32x sum, I32x codes, I32x x) {
    if constexpr (2 * most * 127 <= INT16_MAX) return add_pairs(sum, multiply_bytes(codes, x), I32x{} + 0x00010001);
    const __m256i c = reinterpret_cast<__m256i>(codes), s = reinterpret_cast<__m256i>(x);
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(c, _mm256_set1_epi16(0xff)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(c, 8), _mm256_srai_epi16(s, 8));
    return sum + reinterpret_cast<I32x>(even) + reinterpret_cast<I32x>(odd);
  }
  static I32x multiply_bytes(I32x codes, I32x x) {
    return reinterpret_cast<I32x>(
        _mm256_maddubs_epi16(reinterpret_cast<__m256i>(codes), reinterpret_cast<__m256i>(x)));
  }
  static I32x add_shorts(I32x a, I32x b) {
    return reinterpret_cast<I32x>(_mm256_add_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
  }
  static I32x add_pairs(I32x sum, I32x a, I32x b) {
    return sum +
           reinterpret_cast<I32x>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
  }
};

// In three rounds: pairs of numbers, pairs of pairs, then halves of the registers.
static void transpose(F32x rows[kLanes]) {
  F32x fours[8];  // fours[4g + c]: per half h, column 4h + c of rows 4g .. 4g+3
  for (int g = 0; g < 2; ++g) {
    const F32x* r = rows + 4 * g;
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r[0], r[1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(r[0], r[1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(r[2], r[3]));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(r[2], r[3]));
    fours[4 * g + 0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    fours[4 * g + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    fours[4 * g + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    fours[4 * g + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
  }
  for (int c = 0; c < 4; ++c) {
    rows[c] = _mm256_permute2f128_ps(fours[c], fours[4 + c], 0x20);
    rows[4 + c] = _mm256_permute2f128_ps(fours[c], fours[4 + c], 0x31);
  }
}

}  // namespace
}  // namespace cachalot
