// Byte layouts of stored number formats and their exact scalar codecs. Nothing fast lives here; every packed kernel
// is tested against these. Formulas: docs/formats.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace cachalot {

// bfloat16: the upper half of an f32. To bf16 rounds to nearest even; NaN stays NaN (quiet).
inline float bf16_to_f32(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }
inline uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
float f16_to_f32(uint16_t value);
uint16_t f32_to_f16(float value);  // to nearest even; overflow gives infinity

// Decodes `y.size()` elements of a row of `type` starting at block boundary `bytes`. The count must be a multiple of
// the type's block and the bytes exactly as many as it needs (CHECKed). Any type but the integer ones (CHECKed).
void dequantize(DType type, std::span<const std::byte> bytes, std::span<float> y);
bool can_dequantize(DType type);

}  // namespace cachalot
