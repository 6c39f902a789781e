#include "tensor/dtype.h"

#include <array>

#include "base/check.h"

namespace cachalot {

static constexpr std::array kTypes = {
    DTypeInfo{"f32", 1, 4},      DTypeInfo{"f16", 1, 2},      DTypeInfo{"bf16", 1, 2},
    DTypeInfo{"f64", 1, 8},      DTypeInfo{"i8", 1, 1},       DTypeInfo{"i16", 1, 2},
    DTypeInfo{"i32", 1, 4},      DTypeInfo{"i64", 1, 8},      DTypeInfo{"u8", 1, 1},
    DTypeInfo{"bool", 1, 1},     DTypeInfo{"f8_e4m3", 1, 1},  DTypeInfo{"f8_e5m2", 1, 1},
    DTypeInfo{"q4_0", 32, 18},   DTypeInfo{"q4_1", 32, 20},   DTypeInfo{"q5_0", 32, 22},
    DTypeInfo{"q5_1", 32, 24},   DTypeInfo{"q8_0", 32, 34},   DTypeInfo{"q2_k", 256, 84},
    DTypeInfo{"q3_k", 256, 110}, DTypeInfo{"q4_k", 256, 144}, DTypeInfo{"q5_k", 256, 176},
    DTypeInfo{"q6_k", 256, 210}, DTypeInfo{"iq4_nl", 32, 18}, DTypeInfo{"iq4_xs", 256, 136},
    DTypeInfo{"mxfp4", 32, 17},  DTypeInfo{"opaque", 1, 0},
};
static_assert(kTypes.size() == static_cast<size_t>(DType::opaque) + 1);

const DTypeInfo& info(DType type) { return kTypes[static_cast<size_t>(type)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

int64_t row_bytes(DType type, int64_t elements) {
  const auto& [type_name, block_elements, block_bytes] = info(type);
  CHECK(elements % block_elements == 0 && type != DType::opaque, "{} elements of {}", elements, type_name);
  return elements / block_elements * block_bytes;
}

}  // namespace cachalot
