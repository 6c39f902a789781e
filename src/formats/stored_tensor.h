// A tensor as a checkpoint stores it: a view of a mapped file, or of a copy that it shares.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace cachalot {

// The factors of a block-quantized matrix, or of a stack of matrices: a number is what its code says, times the
// factor of its block.
struct BlockScales {
  DType dtype;                       // f32, bf16 or f16
  std::span<const std::byte> bytes;  // per matrix [grid_rows, grid_columns], row-major; need not be aligned
  const MappedFile* file = nullptr;  // not always the weights' own
  int block_rows, block_columns;
  int64_t grid_rows, grid_columns;
  int64_t matrix_rows;    // of weights, in one matrix of the stack
  int64_t first_row = 0;  // which row of the stack is row 0 of this tensor; not 0 in a part

  // The grid_columns factors of row r, one per block_columns columns.
  void read_row(int64_t r, std::span<float> out) const;
};

struct StoredTensor {
  std::string name;  // as the container spells it
  DType dtype;
  std::vector<int64_t> shape;         // PyTorch order: [rows, columns]; GGUF's reversed sizes are undone
  std::span<const std::byte> bytes;   // row-major, exactly the bytes of shape and dtype
  const MappedFile* file = nullptr;   // where it comes from, for messages also of a copy
  std::optional<BlockScales> scales;  // of FP8 weights, always; of others never
  int64_t first_row = 0;              // of a part: which row of the whole tensor its row 0 is
  std::string other_type = {};        // how the container names an opaque dtype
  std::shared_ptr<const std::vector<std::byte>> copy = {};  // owns the bytes where they are no view of the file

  std::string_view type_name() const { return cachalot::name(dtype, other_type); }
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const;  // the product of all dimensions but the last; 1 for a vector
  int64_t elements() const { return rows() * columns(); }
  std::span<const std::byte> row(int64_t r) const;
  // Rows [begin, end) as a tensor of their own, [end - begin, columns]: an expert of a stack, a part of a fused
  // matrix.
  StoredTensor rows_part(int64_t begin, int64_t end) const;
  // Components [begin, end) of a vector. Throws Error when its type has no single numbers.
  StoredTensor components(int64_t begin, int64_t end) const;
  // Rows [begin, end) as f32, exact (scalar codecs of tensor/quant_blocks.h); with `scales`,
  // the product of code and factor as f32 rounds it.
  void read_rows(int64_t begin, int64_t end, float* out) const;
  // Throws Error when one of the rows [begin, end) is no row of numbers: an FP8 code that is NaN, or a factor that is
  // negative, not finite, or makes the largest code infinite. Opening reads no values, so whoever loads FP8 weights
  // asks.
  void check_rows(int64_t begin, int64_t end) const;
  // Gives the pages of rows [begin, end) back to the file; does nothing to a copy.
  void release_rows(int64_t begin, int64_t end) const;
  int64_t stored_bytes() const;  // in the files, factors included
};

}  // namespace cachalot
