// What attention needs beside the matrix kernels: products with the panels of one block of the KV cache. noexcept,
// no allocation, no threads; the invariance of table.h holds.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "tensor/dtype.h"

namespace cachalot {

// Memory that will be read soon: a kernel that is told prefetches it evenly while it works, into the second cache.
struct Prefetch {
  const std::byte* at = nullptr;
  int64_t bytes = 0;
};

// For one type of numbers in panels. Rows of inputs (queries, probabilities) are prepared one by one and may be
// multiplied from any row and any even input on, since a causal mask leaves out leading rows and trailing blocks.
struct AttentionKernel {
  DType inputs;  // f32 or bf16: what prepare() makes of x
  // Writes input_bytes(K): K numbers, and a zero after an odd K.
  void (*prepare)(const float* x_K, int64_t K, void* row) noexcept;

  // As RowMicroKernel::multiply() with all columns used (y has room for them) for one panel after the other, whose
  // results accumulate, and the same bits: panel i meets the inputs from i * K on. Of several panels K is a multiple
  // of 32.
  void (*multiply)(const void* x, int64_t x_stride_bytes, int64_t rows, std::span<const std::byte* const> panels,
                   int64_t K, float* y, int64_t y_stride, bool accumulate, Prefetch ahead) noexcept;

  // Panels whose outputs are `tokens` tokens, key_dim inputs each -> panels whose inputs are the tokens and whose
  // outputs are the first `dim` components of the keys (bf16: dim is even); what fills the last panel up is zeros.
  // `tokens` is a multiple of the columns.
  void (*values_of_keys)(const void* keys, int64_t key_dim, int tokens, int64_t dim, void* values,
                         Prefetch ahead) noexcept;

  int64_t input_bytes(int64_t K) const { return (K + 1) / 2 * 2 * (inputs == DType::f32 ? 4 : 2); }
};

// A cached block of 8-bit codes -> bf16 panels: a number is code * scale, rounded to the nearer bf16 (ties away from
// zero). `columns` are the matrix kernel's. Codes lie as [panel][input][columns], with an even number of inputs.
struct CodedCacheKernel {
  // Outputs are `tokens` tokens. The inputs 2u and 2u + 1 have scale[group_of_unit[u]][token], in bf16.
  void (*decode_keys)(const int8_t* codes, const uint16_t* scale, const uint16_t* group_of_unit, int64_t units,
                      int tokens, uint16_t* panels) noexcept;
  // The same with scale[u % half][token] as small_scale() has it, half = units / 2 rounded up.
  void (*decode_turning_keys)(const int8_t* codes, const uint8_t* scale, int64_t units, int tokens,
                              uint16_t* panels) noexcept;
  // Inputs are `tokens` tokens, an even number. Output n has scale[n / kValueGroup][token], in bf16; the codes of
  // outputs ≥ dim are zeros.
  void (*decode_values)(const int8_t* codes, const uint16_t* scale, int tokens, int64_t dim,
                        uint16_t* panels) noexcept;
};
constexpr int kValueGroup = 32;

// A scale in 8 bits: (1 + low two bits / 4) * 2^(upper six bits - 40), or NaN.
constexpr uint8_t kSmallScaleNaN = 255;
constexpr uint32_t kSmallScaleBase = uint32_t{127 - 40} << 23;
inline float small_scale(uint8_t bits) {
  return std::bit_cast<float>(((uint32_t{bits} << 21) + kSmallScaleBase) |
                              (bits == kSmallScaleNaN ? 0x7fc00000u : 0u));
}

}  // namespace cachalot
