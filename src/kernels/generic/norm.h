// y_D = x_D * rsqrt(mean(x_D²) + eps) * gain_D. y may be x. Any D ≥ 1; no alignment needed.
// Squares are added lane by lane in order of d and then across lanes, all in f32; the tail's missing lanes add zero.
// Worst relative error against f64 on normal numbers, D ≤ 16384: 6.3e-7 (scalar), 3.1e-7 (avx2), 2.9e-7 (avx512).
// Source: arXiv:1910.07467, eq. 4; eps sits inside the root, as in the released models.
#pragma once

#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

static void rms_norm(const float* x_D, const float* gain_D, float eps, int64_t D, float* y_D) noexcept {
  const int tail = static_cast<int>(D % kLanes);
  const int64_t body = D - tail;

  F32x squares = set(0);
  for (int64_t d = 0; d < body; d += kLanes) squares = fma(load(x_D + d), load(x_D + d), squares);
  if (tail) squares = fma(load(x_D + body, tail), load(x_D + body, tail), squares);

  const F32x scale = set(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(D) + eps));
  for (int64_t d = 0; d < body; d += kLanes) store(y_D + d, mul(mul(load(x_D + d), scale), load(gain_D + d)));
  if (tail) store(y_D + body, mul(mul(load(x_D + body, tail), scale), load(gain_D + body, tail)), tail);
}

}  // namespace
}  // namespace cachalot
