// Rotary embedding of one head: each pair (a, b) becomes (a cos - b sin, b cos + a sin). y must not be x.
// Both products are rounded before they are added, never fused: so does the models' reference code, and with equal
// cos and sin the results are equal bit for bit. Plain loops; the compiler vectorises them. Source: arXiv:2104.09864,
// eq. 34.
#pragma once

#include <cstdint>

namespace cachalot {
namespace {

static void rope_halves(const float* x_R, const float* cos, const float* sin, int64_t R, float* y_R) noexcept {
  const int64_t half = R / 2;
  const float *a = x_R, *b = x_R + half;
  float* __restrict__ y_a = y_R, * __restrict__ y_b = y_R + half;
  for (int64_t i = 0; i < half; ++i) {
    y_a[i] = a[i] * cos[i] - b[i] * sin[i];
    y_b[i] = b[i] * cos[i] + a[i] * sin[i];
  }
}

static void rope_pairs(const float* x_R, const float* cos, const float* sin, int64_t R, float* y_R) noexcept {
  float* __restrict__ y = y_R;
  for (int64_t i = 0; i < R / 2; ++i) {
    const float a = x_R[2 * i], b = x_R[2 * i + 1];
    y[2 * i] = a * cos[i] - b * sin[i];
    y[2 * i + 1] = b * cos[i] + a * sin[i];
  }
}

}  // namespace
}  // namespace cachalot
