// Element types of stored and computed tensors. A quantized type is made of blocks along a row.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cachalot {

enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i8,
  i16,
  i32,
  i64,
  u8,
  boolean,
  f8_e4m3,
  f8_e5m2,  // plain
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  mxfp4,   // GGUF's blocks
  opaque,  // a type that a container names and nothing here reads: bytes, and how many an element takes is not known
};

struct DTypeInfo {
  std::string_view name;  // as the command line spells it
  int block_elements;     // 1 for plain types
  int block_bytes;
};

const DTypeInfo& info(DType type);
inline std::string_view name(DType type) { return info(type).name; }
// The same of a stored tensor, whose container says `other` when the type is opaque.
inline std::string_view name(DType type, std::string_view other) {
  return type == DType::opaque ? other : name(type);
}
std::optional<DType> dtype_from_name(std::string_view name);

// Bytes of one row of `elements`; the count must be a multiple of the block (CHECKed).
int64_t row_bytes(DType type, int64_t elements);

}  // namespace cachalot
