// Number formats, in plain loops that the compiler vectorises with this file's flags. Integer arithmetic throughout:
// the processors' own bf16 conversion takes subnormals for zero.
#pragma once

#include <cstdint>

namespace cachalot {
namespace {

static void bf16_to_f32(const uint16_t* x, int64_t n, float* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = __builtin_bit_cast(float, static_cast<uint32_t>(x[i]) << 16);
}

// To nearest even: half of the last place is added, less one where the last place is even. NaN keeps its upper bits
// and is made quiet, since its payload may lie in the half that goes.
static void f32_to_bf16(const float* x, int64_t n, uint16_t* y) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x[i]);
    const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    y[i] = static_cast<uint16_t>(((bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded) >> 16);
  }
}

}  // namespace
}  // namespace cachalot
