// Rows of numbers, element by element. y may be an input.

// y = silu(gate) * up, silu(z) = z / (1 + e^-z). Relative error ≤ 2.5e-7; for z < -88.7, where |silu| < 1e-36, it is
// 0. NaN stays NaN, and z = -inf gives NaN, as the formula does.
static F32x swiglu_of(F32x gate, F32x up) { return mul(div(gate, add(set(1.0f), exp(sub(set(0), gate)))), up); }
static void swiglu(const float* gate, const float* up, int64_t n, float* y) noexcept {
  const int tail = static_cast<int>(n % kLanes);
  const int64_t body = n - tail;
  for (int64_t i = 0; i < body; i += kLanes) store(y + i, swiglu_of(load(gate + i), load(up + i)));
  if (tail) store(y + body, swiglu_of(load(gate + body, tail), load(up + body, tail)), tail);
}

static void add(const float* a, const float* b, int64_t n, float* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

static void scale(float* y, int64_t n, float factor) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] *= factor;
}

// Two passes: the largest, then where it first stands.
static int64_t argmax(const float* x, int64_t n) noexcept {
  const int tail = static_cast<int>(n % kLanes);
  const int64_t body = n - tail;
  F32x most = set(-__builtin_inff());
  for (int64_t i = 0; i < body; i += kLanes) most = max(load(x + i), most);  // NaN loses
  float best = largest(most);
  for (int64_t i = body; i < n; ++i) best = x[i] > best ? x[i] : best;
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == best) return i;
  return 0;  // all NaN
}
