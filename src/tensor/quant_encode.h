// Numbers into GGUF's blocks: the inverse of dequantize() (quant_blocks.h). The layouts are in docs/formats.md.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.h"
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
// Returns the index of the first element that `type` cannot hold, nothing when it holds them all. It cannot hold:
//   - NaN and infinities (f32, f16 and bf16 have them, but they are no weights);
//   - what becomes infinite in f16 (from 65520 on) or bf16;
//   - the outermost element of a block (of a part, in K types) that no scale spans. With H = 65504, the largest f16,
//     the elements must lie within the range of one of these, or of its negative where two bounds are given:
//         q8_0  [-127 H, 127 H]        q4_1  [-H, H] + [0, 15 H]       q2_k  [-15 H, 0] + [0, 45 H]
//         q4_0  [-8 H, 7 H]            q5_1  [-H, H] + [0, 31 H]       q4_k  [-63 H, 0] + [0, 945 H]
//         q5_0  [-16 H, 15 H]          q3_k  [-128 H, 96 H], 31/32 of it for parts of the other sign
//         iq4_nl  [-127 H, 113 H]      q6_k  [-4096 H, 3968 H], 127/128 likewise      q5_k  as q4_k, 1953 H
//     where [a, b] + [0, c] is: a lowest element in [a, b] and the others at most c above it.
// The bytes are written all the same and hold finite numbers, those of blocks as near as they come: NaN is encoded as
// 0. Blocks of numbers below 1e-12 become 0. A weight that is negative or not finite counts as 0; a block whose
// weights are all 0 counts as unweighted. q8_0: the scale is the best of those for which no element is off by more
// than half a step; code -128 is not used. f16 and bf16 round to nearest even and f32 copies, all three as they are:
// NaN stays, f16 overflows to infinity.
std::optional<size_t> quantize(DType type, std::span<const float> x, std::span<const float> importance,
                               std::span<std::byte> bytes);

// The refusal of an element that quantize() does not hold: tensor, row, value and type, and which value of `option`
// (the command line's) would hold it.
Error not_held(std::string_view tensor, int64_t row, float value, DType type, std::string_view option);

}  // namespace cachalot
