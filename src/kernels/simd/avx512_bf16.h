// What VDPBF16PS adds to avx512.h: each lane of an accumulator takes the two products of a pair at once. The
// instruction takes subnormal inputs and results for zero and rounds at most twice per pair.

static F32x dot_pairs(F32x sum, F32x a, F32x b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

struct Bf16Panels {
  static constexpr int kParts = 1, kInputsPerUnit = 2;
  template <int part>
  static F32x weights(F32x unit) {
    return unit;
  }
  static F32x step(F32x sum, F32x x, F32x w) { return dot_pairs(sum, x, w); }
};

static void prepare_bf16(const float* x_K, int64_t K, void* out) noexcept {
  f32_to_bf16(x_K, K, static_cast<uint16_t*>(out));
  if (K % 2) static_cast<uint16_t*>(out)[K] = 0;
}

static float bf16_loop(int64_t iterations) noexcept {
  const F32x small = _mm512_castsi512_ps(_mm512_set1_epi16(0x3c00));  // 2^-7
  return register_loop(iterations, small, small, [](F32x x, F32x y, F32x c) { return dot_pairs(c, x, y); });
}
