// What VDPBF16PS, VNNI and VBMI add to avx512.h: each lane of an accumulator takes the two products of a pair at
// once. The instruction takes subnormal inputs and results for zero and rounds at most twice per pair.
#pragma once

#include "kernels/simd/avx512.h"

#include "kernels/generic/kernels.h"

#if !defined(__AVX512BF16__) || !defined(__AVX512VNNI__) || !defined(__AVX512VBMI__)
#error "compile with the flags of isa/avx512_bf16.cpp"
#endif

namespace cachalot {
namespace {

static F32x dot_pairs(F32x sum, F32x a, F32x b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}

// VNNI: four byte products and their sum at once.
struct VnniDot {
  static constexpr bool kPairsOfBytes = false;
  template <int most>
  static I32x add(I32x sum, I32x codes, I32x x) {
    return reinterpret_cast<I32x>(_mm512_dpbusd_epi32(
        reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(codes), reinterpret_cast<__m512i>(x)));
  }
  static I32x add_pairs(I32x sum, I32x a, I32x b) {
    return reinterpret_cast<I32x>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(a),
                                                      reinterpret_cast<__m512i>(b)));
  }
};

struct Bf16Panels {
  static constexpr int kParts = 1, kInputsPerUnit = 2;
  template <int part>
  static F32x weights(F32x unit) {
    return unit;
  }
  static F32x step(F32x sum, F32x x, F32x w) { return dot_pairs(sum, x, w); }
};

// Upper and lower bytes of e4m3's magnitudes as bf16, by code.
struct E4m3Bytes {
  alignas(64) uint8_t high[128], low[128];
};
constexpr E4m3Bytes e4m3_bytes() {
  E4m3Bytes bytes{};
  for (int code = 0; code < 127; ++code) {
    int exponent = code >> 3, fraction = code & 7;
    if (exponent == 0 && fraction != 0) {
      for (exponent = 1; fraction < 8; --exponent) fraction *= 2;  // a subnormal has no leading one of its own
      fraction -= 8;
    }
    const int bf16 = code == 0 ? 0 : (exponent + 120) << 7 | fraction << 4;
    bytes.high[code] = static_cast<uint8_t>(bf16 >> 8), bytes.low[code] = static_cast<uint8_t>(bf16);
  }
  return bytes;
}
constexpr E4m3Bytes kE4m3Bytes = e4m3_bytes();

// Four e4m3 codes per unit, looked up as bf16: their upper and lower bytes interleave into pairs, in groups of four
// columns.
struct E4m3PairPanels {
  using Plain = Bf16Panels;
  static constexpr int kParts = 2, kInputsPerUnit = 4;
  static constexpr int kFewRows = 5;  // six spill
  static constexpr float kCodeScale = 1;
  template <int part>
  static F32x weights(const float* units) {
    const __m512i code = _mm512_loadu_si512(units), sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const auto look_up = [&](const uint8_t* table) {
      return _mm512_permutex2var_epi8(_mm512_load_si512(table), code, _mm512_load_si512(table + 64));
    };
    const __m512i low = look_up(kE4m3Bytes.low);
    const __m512i high = _mm512_ternarylogic_epi32(look_up(kE4m3Bytes.high), code, sign, 0xf8);  // a | (b & c)
    return _mm512_castsi512_ps(part == 0 ? _mm512_unpacklo_epi8(low, high) : _mm512_unpackhi_epi8(low, high));
  }
  static F32x step(F32x sum, F32x x, F32x w) { return dot_pairs(sum, x, w); }
  static F32x arrange(F32x units) {
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    return _mm512_castsi512_ps(_mm512_shuffle_epi8(_mm512_castps_si512(units), order));
  }
};

static void prepare_bf16(const float* x_K, int64_t K, void* out) noexcept {
  f32_to_bf16(x_K, K, static_cast<uint16_t*>(out));
  if (K % 2) static_cast<uint16_t*>(out)[K] = 0;
}

static float bf16_loop(int64_t iterations) noexcept {
  const F32x small = _mm512_castsi512_ps(_mm512_set1_epi16(0x3c00));  // 2^-7
  return register_loop(iterations, small, small, [](F32x x, F32x y, F32x c) { return dot_pairs(c, x, y); });
}

static constexpr KernelTable bf16_kernels(const char* isa, bool (*usable)() noexcept) {
  KernelTable table = generic_kernels(isa, usable);
  table.matmul_bf16.inputs = DType::bf16;
  table.matmul_bf16.by_row = {.prepare = prepare_bf16, .multiply = tile<Bf16Panels>};
  table.matmul_fp8.inputs = DType::bf16;
  table.matmul_fp8.by_row = {.prepare = prepare_bf16, .multiply = coded_tile<E4m3PairPanels>};
  table.matmul_fp8.pack = pack_coded<E4m3PairPanels>;
  table.matmul_quantized = quantized_kernels<VnniDot>();
  table.attention_bf16.inputs = DType::bf16;
  table.attention_bf16.prepare = prepare_bf16;
  table.attention_bf16.multiply = multiply_panels<Bf16Panels>;
  table.bf16_loop = bf16_loop;
  table.byte_loop = byte_loop<VnniDot>;
  table.bf16_flops = 2 * kFmaFlops;
  return table;
}

}  // namespace
}  // namespace cachalot
