// The primitives (see scalar.h) with AVX-512 F, BW, VL and DQ: 16 lanes, 32 registers.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512VL__) || !defined(__AVX512DQ__)
#error "compile with the flags of isa/avx512.cpp"
#endif
#ifdef CACHALOT_PRIMITIVES
#error "primitives of another instruction set came first"
#endif
#define CACHALOT_PRIMITIVES

namespace cachalot {
namespace {

constexpr int kLanes = 16;
constexpr int kRegisters = 32;
// matmul: 24 accumulators, 4 weights, 1 input. 97-99 % of the peak; 7 × 4 and 12 × 2 are no faster (docs/log.md).
constexpr int kTileRows = 6, kTileVectors = 4;

typedef __m512 F32x;

static F32x set(float value) { return _mm512_set1_ps(value); }
static F32x load(const void* p) { return _mm512_loadu_ps(p); }
static void store(float* p, F32x a) { _mm512_storeu_ps(p, a); }

static __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
static F32x load(const void* p, int n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
static void store(float* p, F32x a, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }

static void stream(float* p, F32x a) { _mm512_stream_ps(p, a); }
static void finish_streams() { _mm_sfence(); }

static F32x add(F32x a, F32x b) { return _mm512_add_ps(a, b); }
static F32x sub(F32x a, F32x b) { return _mm512_sub_ps(a, b); }
static F32x mul(F32x a, F32x b) { return _mm512_mul_ps(a, b); }
static F32x div(F32x a, F32x b) { return _mm512_div_ps(a, b); }
static F32x fma(F32x a, F32x b, F32x c) { return _mm512_fmadd_ps(a, b, c); }
static F32x max(F32x a, F32x b) { return _mm512_max_ps(a, b); }
static F32x min(F32x a, F32x b) { return _mm512_min_ps(a, b); }
static float first(F32x a) { return _mm512_cvtss_f32(a); }

// Halves upon halves: 8 lanes, 4, 2, 1.
static float sum(F32x a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static float largest(F32x a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static F32x round(F32x a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static F32x times_power_of_two(F32x a, F32x n) { return _mm512_scalef_ps(a, n); }

static F32x widen_low(F32x units) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(units), 16)); }
static F32x widen_high(F32x units) {
  const __m512i high = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(units), high));
}

static F32x arrange_e4m3(F32x units) {
  const __m512i order = _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24,
                                         22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, _mm512_castps_si512(units)));
}
template <int part>
static F32x e4m3(const void* units) {
  __m256i code = _mm256_loadu_si256(static_cast<const __m256i*>(units) + part / 2);
  if constexpr (part % 2 == 0) code = _mm256_slli_epi16(code, 8);
  const __m256i places = _mm256_set1_epi16(static_cast<int16_t>(0xbf80));
  return _mm512_cvtph_ps(_mm256_and_si256(_mm256_srai_epi16(code, 1), places));
}

static F32x load_halves(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }

typedef int32_t I32x __attribute__((vector_size(64)));
static I32x load_units(const void* p) { return reinterpret_cast<I32x>(_mm512_loadu_si512(p)); }
static void store_units(void* p, I32x a) { _mm512_storeu_si512(p, reinterpret_cast<__m512i>(a)); }
static I32x repeat_unit(const void* p) {
  int32_t unit;
  __builtin_memcpy(&unit, p, sizeof unit);
  return reinterpret_cast<I32x>(_mm512_set1_epi32(unit));
}
static void prefetch_line(const char* p) { asm volatile("prefetcht1 %0" ::"m"(*p)); }
template <int cache>
static void prefetch_line_after(I32x& first, const char* p) {
  if constexpr (cache == 1)
    asm volatile("prefetcht0 %1" : "+v"(first) : "m"(*p));
  else
    asm volatile("prefetcht1 %1" : "+v"(first) : "m"(*p));
}
static I32x widen_bytes(const uint8_t* p) {
  return reinterpret_cast<I32x>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
static I32x widen_bytes(const int8_t* p) {
  return reinterpret_cast<I32x>(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
static void store_bytes(int8_t* p, I32x a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(a)));
}
static int32_t largest(I32x a) { return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(a)); }
static int32_t sum(I32x a) { return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(a)); }
// Even and odd bytes as 16 bits each, since sums of pairs of byte products do not fit 16 bits.
struct GenericDot {
  static constexpr bool kPairsOfBytes = true;
  // Sums of pairs of byte products fit 16 bits while codes are below 130.
  template <int most>
  static I32x add(I32x sum, I32x codes, I32x x) {
    if constexpr (2 * most * 127 <= INT16_MAX) return add_pairs(sum, multiply_bytes(codes, x), I32x{} + 0x00010001);
    const __m512i c = reinterpret_cast<__m512i>(codes), s = reinterpret_cast<__m512i>(x);
    const __m512i even = _mm512_madd_epi16(_mm512_and_si512(c, _mm512_set1_epi16(0xff)),
                                           _mm512_srai_epi16(_mm512_slli_epi16(s, 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(c, 8), _mm512_srai_epi16(s, 8));
    return sum + reinterpret_cast<I32x>(even) + reinterpret_cast<I32x>(odd);
  }
  static I32x multiply_bytes(I32x codes, I32x x) {
    return reinterpret_cast<I32x>(
        _mm512_maddubs_epi16(reinterpret_cast<__m512i>(codes), reinterpret_cast<__m512i>(x)));
  }
  static I32x add_shorts(I32x a, I32x b) {
    return reinterpret_cast<I32x>(_mm512_add_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
  }
  static I32x add_pairs(I32x sum, I32x a, I32x b) {
    return sum +
           reinterpret_cast<I32x>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
  }
};

// In four rounds: pairs of numbers, pairs of pairs, then quarters of the registers.
static void transpose(F32x rows[kLanes]) {
  F32x fours[16];  // fours[4g + c]: per quarter q, column 4q + c of rows 4g .. 4g+3
  for (int g = 0; g < 4; ++g) {
    const F32x* r = rows + 4 * g;
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r[0], r[1])),
                  b = _mm512_castps_pd(_mm512_unpackhi_ps(r[0], r[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(r[2], r[3])),
                  d = _mm512_castps_pd(_mm512_unpackhi_ps(r[2], r[3]));
    fours[4 * g + 0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    fours[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    fours[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    fours[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  for (int c = 0; c < 4; ++c) {
    const F32x even_low = _mm512_shuffle_f32x4(fours[c], fours[4 + c], 0x88);  // quarters 0, 2 of rows 0-3 and 4-7
    const F32x odd_low = _mm512_shuffle_f32x4(fours[c], fours[4 + c], 0xdd);
    const F32x even_high = _mm512_shuffle_f32x4(fours[8 + c], fours[12 + c], 0x88);
    const F32x odd_high = _mm512_shuffle_f32x4(fours[8 + c], fours[12 + c], 0xdd);
    rows[c] = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    rows[4 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    rows[8 + c] = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    rows[12 + c] = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
}

}  // namespace
}  // namespace cachalot
