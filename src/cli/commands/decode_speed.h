// How fast a model will decode on this machine, told before its weights are here.
#pragma once

#include <map>
#include <optional>

#include "ops/cpu/cpu_ops.h"

namespace cachalot {

// What one token reads of weights, in the types in which they are held.
struct TokenReads {
  std::map<DType, double> bytes_of;  // but the output head's
  DType head_held_as = DType::f32;
  double head_bytes = 0;
  int width = 0;  // of the model

  double bytes() const;
};

// Seconds that a token takes behind a short history: matrices of these types are multiplied as decoding does it, all
// of them, or where they are many bytes, as large a part as no cache holds, in the same shares. Takes some tenths of
// a second. None where that is so little that other things take the time.
std::optional<double> seconds_of_token(CpuOps& ops, const TokenReads& reads);

}  // namespace cachalot
