// The largest of `so_far` and count scores times `factor`, count a multiple of kLanes; NaN is none. Several at a
// time, which need not wait for each other.
#pragma once

#include "kernels/generic/exp.h"
#include "kernels/simd/primitives.h"

namespace cachalot {
namespace {

static float largest_scaled(const float* score, int64_t count, F32x factor, float so_far) {
  constexpr int kChains = 4;
  F32x most[kChains];
  for (F32x& m : most) m = set(so_far);
  int64_t i = 0;
  for (; i + kChains * kLanes <= count; i += kChains * kLanes)
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) most[c] = max(mul(load(score + i + c * kLanes), factor), most[c]);
  for (; i < count; i += kLanes) most[0] = max(mul(load(score + i), factor), most[0]);
  return largest(max(max(most[0], most[1]), max(most[2], most[3])));
}

// One block of an online softmax; see softmax_block in table.h. Source: arXiv:1805.02867, algorithm 3.
// The sum runs lane by lane from `begin` and then across lanes. An exponential's relative error is that of
// exp_of_distance() plus 6e-8 times (the largest |scale * score| + its distance from it), which are rounded before.
// A score of -inf counts as 0, even where every score so far is -inf; a NaN score makes the sum NaN.
static float softmax_block(float* score, int64_t n, int64_t begin, int64_t end, float scale, float* max_so_far,
                           float* sum_so_far) noexcept {
  for (int64_t i = 0; i < n && i < begin; ++i) score[i] = 0;
  for (int64_t i = end > 0 ? end : 0; i < n; ++i) score[i] = 0;
  if (begin >= end) return 1;

  const F32x factor = set(scale);
  const int tail = static_cast<int>((end - begin) % kLanes);
  const int64_t body = end - tail;
  float top = largest_scaled(score + begin, body - begin, factor, *max_so_far);
  for (int64_t i = body; i < end; ++i) top = score[i] * scale > top ? score[i] * scale : top;

  const float zero_point = top == -__builtin_inff() ? 0 : top;  // -inf - -inf would be NaN
  const F32x minus_top = set(-zero_point);
  F32x total = set(0);
  for (int64_t i = begin; i < body; i += kLanes) {
    const F32x e = exp_of_distance(fma(load(score + i), factor, minus_top));
    store(score + i, e);
    total = add(total, e);
  }
  if (tail) {
    const F32x e = exp_of_distance(fma(load(score + body, tail), factor, minus_top));
    store(score + body, e, tail);
    total = add(total, load(score + body, tail));
  }

  const float keep = first(exp_of_distance(set(*max_so_far - zero_point)));
  *max_so_far = top;
  *sum_so_far = *sum_so_far * keep + sum(total);
  return keep;
}

}  // namespace
}  // namespace cachalot
