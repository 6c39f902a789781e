// e^x = 2^n * e^r with n = round(x / ln 2), |r| ≤ ln 2 / 2, e^r ≈ 1 + r + r² q(r).
//
// Relative error ≤ 1e-7 (measured: 8.2e-8) where the result is a normal number, absolute ≤ 1.5e-45 below; 0 below
// -104, infinity above 88.8, NaN stays NaN. q is the minimax fit of degree 4, which alone is off by 4e-9 (found by
// reweighted least squares). ln 2 is split so that n * kLn2High is exact even where fma() rounds twice.
#pragma once

#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

static F32x exp(F32x x) {
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  x = min(set(89.0f), max(set(-105.0f), x));  // NaN passes both
  const F32x n = round(mul(x, set(1.44269504f)));
  const F32x r = fma(n, set(-kLn2Low), fma(n, set(-kLn2High), x));
  F32x q = set(0.0013814599f);
  q = fma(q, r, set(0.008368717f));
  q = fma(q, r, set(0.04166839f));
  q = fma(q, r, set(0.16666521f));
  q = fma(q, r, set(0.49999994f));
  return times_power_of_two(add(set(1.0f), fma(mul(r, r), q, r)), n);
}

// e^x for x ≤ 0 with fewer operations: 2^y with y = x / ln 2 rounded, so the relative error is 1e-7 + 6e-8 |x|; 0
// below -104, NaN stays NaN. 2^f for |f| ≤ 1/2 is a polynomial of degree 6 with a relative error of 1.6e-8 (found as
// above).
static F32x exp_of_distance(F32x x) {
  const F32x y = mul(max(set(-105.0f), x), set(1.44269504f));
  const F32x n = round(y), f = sub(y, n);
  F32x p = set(1.5353362e-4f);
  p = fma(p, f, set(0.0013398875f));
  p = fma(p, f, set(0.009618437f));
  p = fma(p, f, set(0.055503324f));
  p = fma(p, f, set(0.24022648f));
  p = fma(p, f, set(0.6931472f));
  return times_power_of_two(fma(p, f, set(1.0f)), n);
}

}  // namespace
}  // namespace cachalot
