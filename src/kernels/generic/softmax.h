// One block of a running softmax; see softmax_block in table.h. Source: arXiv:1805.02867, algorithm 3.
// The sum runs lane by lane from `begin` and then across lanes. An exponential's relative error is that of exp() plus
// 6e-8 times (|scale * score| + its distance from the maximum), both of which are rounded before it is taken.
// A score of -inf counts as 0, even where every score so far is -inf; a NaN score makes the sum NaN.
static float softmax_block(float* score, int64_t n, int64_t begin, int64_t end, float scale, float* max_so_far,
                           float* sum_so_far) noexcept {
  for (int64_t i = 0; i < n && i < begin; ++i) score[i] = 0;
  for (int64_t i = end > 0 ? end : 0; i < n; ++i) score[i] = 0;
  if (begin >= end) return 1;

  const F32x factor = set(scale);
  const int tail = static_cast<int>((end - begin) % kLanes);
  const int64_t body = end - tail;
  F32x most = set(*max_so_far);
  for (int64_t i = begin; i < body; i += kLanes) most = max(mul(load(score + i), factor), most);
  float top = largest(most);
  for (int64_t i = body; i < end; ++i) top = score[i] * scale > top ? score[i] * scale : top;

  const float zero_point = top == -__builtin_inff() ? 0 : top;  // -inf - -inf would be NaN
  F32x total = set(0);
  for (int64_t i = begin; i < body; i += kLanes) {
    const F32x e = exp(sub(mul(load(score + i), factor), set(zero_point)));
    store(score + i, e);
    total = add(total, e);
  }
  if (tail) {
    const F32x e = exp(sub(mul(load(score + body, tail), factor), set(zero_point)));
    store(score + body, e, tail);
    total = add(total, load(score + body, tail));
  }

  const float keep = first(exp(set(*max_so_far - zero_point)));
  *max_so_far = top;
  *sum_so_far = *sum_so_far * keep + sum(total);
  return keep;
}
