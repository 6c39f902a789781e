// Numbers into GGUF's blocks: the inverse of dequantize() (quant_blocks.h). The layouts are in docs/formats.md.
#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace cachalot {

// f32, f16, bf16 and the block types q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k.
bool can_quantize(DType type);

// Encodes a row (or whole blocks of one) of `type`.
//   x           a multiple of the type's block
//   importance  empty, or one weight >= 0 per element: what the square of its error costs, for example the expected
//               square of the activation that meets it. Only ratios within a block matter. Empty: all count alike
//   bytes       out: exactly as many as the elements need (CHECKed)
// Minimises sum(importance * (x - decoded)^2) by search: good, not proven optimal (but see below for q8_0). The same
// input gives the same bytes on every machine. Never throws; thread-safe.
//
// Blocks never hold NaN or infinity: NaN is encoded as 0, and what is larger than the type can hold (65504 times its
// largest code) as the largest that it can. Blocks of numbers below 1e-12 become 0. A weight that is negative or not
// finite counts as 0; a block whose weights are all 0 counts as unweighted.
// q8_0: the scale is the best of those for which no element is off by more than half a step; code -128 is not used.
// f16 and bf16 round to nearest even and f32 copies, all three as they are: NaN stays, f16 overflows to infinity.
void quantize(DType type, std::span<const float> x, std::span<const float> importance, std::span<std::byte> bytes);

}  // namespace cachalot
