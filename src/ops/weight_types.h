// Which types matrices can be held in. A matrix whose rows do not fill a type's blocks is held in a type with smaller
// blocks and at least as many bits.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace cachalot {

// What a user may choose: f32, bf16 and the quantized types that have kernels.
std::span<const DType> weight_types();
bool has_kernels(DType type);  // these and f8_e4m3

// What a matrix of `columns` inputs is held as where `wanted` is asked for or stored:
//   wanted itself, where it has kernels and its block divides `columns`;
//   else for q4_k, q5_k, q6_k: q5_0, q5_1, q8_0, on the same condition;
//   else bf16.
DType holdable_type(DType wanted, int64_t columns);

}  // namespace cachalot
