// What this machine can do at most with this instruction set: loops that do nothing but the work.
#pragma once

#include <cstddef>

#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

typedef uint64_t WideBits __attribute__((vector_size(kLanes * 4), aligned(1), may_alias));

// Four independent streams of one linear read.
static uint64_t read_bytes(const void* memory, size_t bytes) noexcept {
  constexpr size_t wide = sizeof(F32x), step = 4 * wide;
  const char *p = static_cast<const char*>(memory), *end = p + bytes;
  typedef uint64_t Mix __attribute__((vector_size(kLanes * 4)));
  Mix a = {}, b = {}, c = {}, d = {};
  for (; static_cast<size_t>(end - p) >= step; p += step) {
    a ^= *reinterpret_cast<const WideBits*>(p);
    b ^= *reinterpret_cast<const WideBits*>(p + wide);
    c ^= *reinterpret_cast<const WideBits*>(p + 2 * wide);
    d ^= *reinterpret_cast<const WideBits*>(p + 3 * wide);
  }
  a ^= b ^ c ^ d;
  uint64_t mix = 0;
  for (int i = 0; i < kLanes / 2; ++i) mix ^= a[i];
  for (; p < end; ++p) mix ^= static_cast<unsigned char>(*p);
  return mix;
}

// Chains enough to hide the latency, few enough to stay in registers with the two factors.
constexpr int kChains = kRegisters == 32 ? 16 : 10;

template <class Step>
static float register_loop(int64_t iterations, F32x x, F32x y, Step step) {
  F32x chain[kChains];
  for (int c = 0; c < kChains; ++c) chain[c] = set(static_cast<float>(c));
  for (int64_t i = 0; i < iterations; ++i)
    for (int c = 0; c < kChains; ++c) chain[c] = step(x, y, chain[c]);
  for (int c = 1; c < kChains; ++c) chain[0] = add(chain[0], chain[c]);
  return sum(chain[0]);
}

static float fma_loop(int64_t iterations) noexcept {
  return register_loop(iterations, set(1.0000001f), set(1e-7f), [](F32x x, F32x y, F32x c) { return fma(x, y, c); });
}
constexpr int64_t kFmaFlops = 2 * kChains * kLanes;

// The codes are the sums, so that no product can be made before the loop.
template <class Dot>
static float byte_loop(int64_t iterations) noexcept {
  const I32x x = I32x{} + 0x01fe01fe;
  const auto step = [](F32x, F32x q, F32x sum) {
    const auto s = __builtin_bit_cast(I32x, sum), inputs = __builtin_bit_cast(I32x, q);
    if constexpr (Dot::kPairsOfBytes)
      return __builtin_bit_cast(F32x, Dot::add_shorts(s, Dot::multiply_bytes(s, inputs)));
    else
      return __builtin_bit_cast(F32x, Dot::template add<255>(s, s, inputs));
  };
  return register_loop(iterations, set(0), __builtin_bit_cast(F32x, x), step);
}
constexpr int64_t kByteOps = 4 * kFmaFlops;

}  // namespace
}  // namespace cachalot
