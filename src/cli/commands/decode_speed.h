// How fast a model will decode on this machine, told before its weights are here.
#pragma once

#include <map>
#include <optional>

#include "ops/cpu/cpu_ops.h"

namespace cachalot {

// Matrices of one shape, in the type in which they are held.
struct MatrixShape {
  DType held_as;
  int64_t rows, columns;
  auto operator<=>(const MatrixShape&) const = default;
};

// What one token reads of weights. A stack of matrices, of which a token uses some, is one with all rows that are
// used.
struct TokenReads {
  struct Matrices {
    int count = 0;
    double bytes = 0;  // of all
  };
  std::map<MatrixShape, Matrices> matrices;  // but the output head
  std::optional<MatrixShape> head;
  double head_bytes = 0;

  double bytes() const;
};

// Seconds that a token takes behind a short history: such matrices are multiplied as decoding does it, all of them,
// or where they are many bytes, as large a part of each shape as no cache holds. Takes some tenths of a second. None
// where that is so little that other things take the time.
std::optional<double> seconds_of_token(CpuOps& ops, const TokenReads& reads);

}  // namespace cachalot
