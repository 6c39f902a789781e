#include "ops/weight_types.h"

#include <algorithm>
#include <array>

namespace cachalot {

static constexpr std::array kTypes = {DType::f32,  DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1,
                                      DType::q5_0, DType::q5_1, DType::q4_k, DType::q5_k, DType::q6_k};

std::span<const DType> weight_types() { return kTypes; }

bool has_kernels(DType type) {
  return type == DType::f8_e4m3 || std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

DType holdable_type(DType wanted, int64_t columns) {
  if (has_kernels(wanted) && columns % info(wanted).block_elements == 0) return wanted;
  switch (wanted) {
    case DType::q4_k: return holdable_type(DType::q5_0, columns);
    case DType::q5_k: return holdable_type(DType::q5_1, columns);
    case DType::q6_k: return holdable_type(DType::q8_0, columns);
    default: return DType::bf16;
  }
}

}  // namespace cachalot
