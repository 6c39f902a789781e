// Rows of numbers, element by element. y may be an input.
#pragma once

#include "kernels/generic/exp.h"
#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

// y = silu(gate) * up, silu(z) = z / (1 + e^-z). Relative error ≤ 2.5e-7; for z < -88.7, where |silu| < 1e-36, it is
// 0. NaN stays NaN, and z = -inf gives NaN, as the formula does.
static F32x swiglu_of(F32x gate, F32x up) { return mul(div(gate, add(set(1.0f), exp(sub(set(0), gate)))), up); }
static void swiglu(const float* gate, const float* up, int64_t n, float* y) noexcept {
  const int tail = static_cast<int>(n % kLanes);
  const int64_t body = n - tail;
  for (int64_t i = 0; i < body; i += kLanes) store(y + i, swiglu_of(load(gate + i), load(up + i)));
  if (tail) store(y + body, swiglu_of(load(gate + body, tail), load(up + body, tail)), tail);
}

// Relative error ≤ 2.5e-7 for |beta x| < 1; beyond that the exponent's rounding adds |beta x| units in the last
// place.
static F32x silu_of(F32x x, float beta) { return div(x, add(set(1.0f), exp(mul(set(-beta), x)))); }
static void silu(const float* x, float beta, int64_t n, float* y) noexcept {
  const int tail = static_cast<int>(n % kLanes);
  const int64_t body = n - tail;
  for (int64_t i = 0; i < body; i += kLanes) store(y + i, silu_of(load(x + i), beta));
  if (tail) store(y + body, silu_of(load(x + body, tail), beta), tail);
}

// Absolute error ≤ 2.5e-7 max(1, |x|). By the C library's erf, as no released model needs it fast.
static void gelu(const float* x, int64_t n, float* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = 0.5f * x[i] * (1.0f + __builtin_erff(x[i] * 0.70710678f));
}

static void multiply(const float* a, const float* b, int64_t n, float* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] * b[i];
}

static void add(const float* a, const float* b, int64_t n, float* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

static void scale(float* y, int64_t n, float factor) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] *= factor;
}

}  // namespace
}  // namespace cachalot
