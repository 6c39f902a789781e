// Four lanes in plain C++ (the compiler's portable vectors), for every processor. The primitives, which each file of
// this folder defines, are exactly these; nothing else may depend on the instruction set.
//
// fma() rounds twice here, the product and the sum: without the instruction a true one costs a library call per
// number.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef CACHALOT_PRIMITIVES
#error "primitives of another instruction set came first"
#endif
#define CACHALOT_PRIMITIVES

namespace cachalot {
namespace {

constexpr int kLanes = 4;
constexpr int kRegisters = 16;
constexpr int kTileRows = 2, kTileVectors = 4;  // matmul: 8 accumulators, 4 weights, 2 inputs of 16 registers

typedef float F32x __attribute__((vector_size(16)));
typedef int32_t I32x __attribute__((vector_size(16)));
typedef float F32xUnaligned __attribute__((vector_size(16), aligned(1), may_alias));

static F32x set(float value) { return F32x{value, value, value, value}; }
static F32x load(const void* p) { return *static_cast<const F32xUnaligned*>(p); }  // any alignment
static void store(float* p, F32x a) { *reinterpret_cast<F32xUnaligned*>(p) = a; }

// The first n < kLanes numbers, the others zero; nothing past them is touched.
static F32x load(const void* p, int n) {
  F32x a = set(0);
  __builtin_memcpy(&a, p, static_cast<size_t>(n) * 4);
  return a;
}
static void store(float* p, F32x a, int n) { __builtin_memcpy(p, &a, static_cast<size_t>(n) * 4); }

// A store to aligned memory that goes past the caches where that is faster; others see it after finish_streams().
static void stream(float* p, F32x a) { store(p, a); }
static void finish_streams() {}

static F32x add(F32x a, F32x b) { return a + b; }
static F32x sub(F32x a, F32x b) { return a - b; }
static F32x mul(F32x a, F32x b) { return a * b; }
static F32x div(F32x a, F32x b) { return a / b; }
static F32x fma(F32x a, F32x b, F32x c) { return a * b + c; }
static F32x max(F32x a, F32x b) { return a > b ? a : b; }  // b if either is NaN
static F32x min(F32x a, F32x b) { return a < b ? a : b; }  // b if either is NaN
static float first(F32x a) { return a[0]; }
static float sum(F32x a) { return (a[0] + a[2]) + (a[1] + a[3]); }
static float largest(F32x a) {
  const float x = a[0] > a[1] ? a[0] : a[1], y = a[2] > a[3] ? a[2] : a[3];
  return x > y ? x : y;
}

// To the nearest integer, |a| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction.
constexpr float kRounder = 0x1.8p23f;
static F32x round(F32x a) { return a + kRounder - kRounder; }

// a * 2^n for integers n in [-252, 252], in two factors so that a subnormal result is rounded once.
static F32x times_power_of_two(F32x a, F32x n) {
  const I32x power = __builtin_bit_cast(I32x, n + kRounder) - __builtin_bit_cast(I32x, set(kRounder));
  const I32x half = power >> 1, rest = power - half;
  return a * __builtin_bit_cast(F32x, (half + 127) << 23) * __builtin_bit_cast(F32x, (rest + 127) << 23);
}

// The two bf16 numbers of each 32-bit unit, widened.
static F32x widen_low(F32x units) { return __builtin_bit_cast(F32x, __builtin_bit_cast(I32x, units) << 16); }
static F32x widen_high(F32x units) {
  return __builtin_bit_cast(F32x, __builtin_bit_cast(I32x, units) & static_cast<int32_t>(0xffff0000));
}

// Units of four e4m3 codes: arrange_e4m3() puts those of kLanes columns into the order that e4m3() likes best (f16
// conversions want one pair of every column side by side; here it stays as it is), e4m3<k>() gives code k of each
// column times 2^-8. The bits are put in their places, the sign drawn out by an arithmetic shift and its copies
// masked; the difference of the biases is left to whoever multiplies (to f16 it is 2^8), and subnormals are
// subnormals.
static F32x arrange_e4m3(F32x units) { return units; }
template <int part>
static F32x e4m3(const void* units) {
  const I32x code = __builtin_bit_cast(I32x, load(units)) << (8 * (3 - part));
  return __builtin_bit_cast(F32x, (code >> 4) & static_cast<int32_t>(0x87f00000)) * 0x1p112f;
}

// kLanes numbers in f16.
static F32x load_halves(const void* p) {
  float y[kLanes];
  uint16_t x[kLanes];
  __builtin_memcpy(x, p, sizeof x);
  for (int i = 0; i < kLanes; ++i) {
    const uint32_t special = (x[i] & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
    const float magnitude = __builtin_bit_cast(float, (uint32_t{x[i]} & 0x7fff) << 13) * 0x1p112f;
    y[i] = __builtin_bit_cast(float,
                              __builtin_bit_cast(uint32_t, magnitude) | special | (uint32_t{x[i]} & 0x8000) << 16);
  }
  return load(y);
}

// Units of four bytes, one unit per lane.
static I32x load_units(const void* p) { return __builtin_bit_cast(I32x, load(p)); }
static void store_units(void* p, I32x a) { __builtin_memcpy(p, &a, sizeof a); }
static I32x repeat_unit(const void* p) {
  int32_t unit;
  __builtin_memcpy(&unit, p, sizeof unit);
  return I32x{} + unit;
}
// Prefetch a line of memory: to the second cache, or to the first or second when `first` is there. Neither moves:
// left to itself the compiler prefetches many lines at once, which is more than the processor takes.
static void prefetch_line(const char* p) { __builtin_prefetch(p, 0, 2); }
template <int cache>
static void prefetch_line_after(I32x&, const char* p) {
  __builtin_prefetch(p, 0, 4 - cache);
}
// kLanes bytes as integers, and the lowest bytes of integers.
template <typename Byte>
static I32x widen_bytes(const Byte* p) {
  I32x a;
  for (int i = 0; i < kLanes; ++i) a[i] = p[i];
  return a;
}
static void store_bytes(int8_t* p, I32x a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(a[i]);
}
static int32_t largest(I32x a) {
  int32_t top = a[0];
  for (int i = 1; i < kLanes; ++i) top = a[i] > top ? a[i] : top;
  return top;
}
static int32_t sum(I32x a) { return (a[0] + a[1]) + (a[2] + a[3]); }
// add_pairs(): sum + the two products of signed halves. add(): sum + the four products of an unsigned byte, at most
// `most`, and a signed one, at least -127. Where kPairsOfBytes, multiply_bytes(): sums of two such products in 16
// bits, as far as they fit, and add_shorts().
// Here even and odd bytes are 16 bits each; a product is at most 255 * 127 and fits.
struct GenericDot {
  static constexpr bool kPairsOfBytes = false;
  template <int most>
  static I32x add(I32x sum, I32x codes, I32x x) {
    typedef int16_t I16x __attribute__((vector_size(16)));
    const I16x c = __builtin_bit_cast(I16x, codes), s = __builtin_bit_cast(I16x, x);
    const I32x even = __builtin_bit_cast(I32x, (c & 0xff) * ((s << 8) >> 8));
    const I32x odd = __builtin_bit_cast(I32x, ((c >> 8) & 0xff) * (s >> 8));
    return sum + ((even << 16) >> 16) + (even >> 16) + ((odd << 16) >> 16) + (odd >> 16);
  }
  static I32x add_pairs(I32x sum, I32x a, I32x b) {
    return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
  }
};

// rows[i][j] becomes rows[j][i].
static void transpose(F32x rows[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float upper = rows[j][i];
      rows[j][i] = rows[i][j], rows[i][j] = upper;
    }
}

}  // namespace
}  // namespace cachalot
