// Weights as CpuOps holds them: matrices as panels of the matrix kernel of their type, vectors as f32.
#pragma once

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "ops/ops.h"

namespace cachalot {

// The matrices of a weight, one after another; each is divide_up(rows, columns) panels.
struct MatrixStorage final : Weight::Storage {
  std::shared_ptr<std::byte> panels;
  int64_t part_bytes = 0;  // of one matrix
};

struct VectorStorage final : Weight::Storage {
  std::shared_ptr<std::byte> memory;

  float* values() const { return reinterpret_cast<float*>(memory.get()); }
};

// The panels of matrix `part` of a weight (0 for a plain matrix).
inline const std::byte* panels_of(const Weight& w, int64_t part = 0) {
  const auto& storage = static_cast<const MatrixStorage&>(*w.storage);
  return storage.panels.get() + (w.first + part) * storage.part_bytes;
}
// The numbers of vector `part` of a weight.
inline const float* vector_of(const Weight& w, int64_t part = 0) {
  return static_cast<const VectorStorage&>(*w.storage).values() +
         (w.first + part) * w.shape[static_cast<size_t>(w.rank - 1)];
}

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The kernel that multiplies with weights held so.
const MatmulKernel& matmul_kernel(const KernelTable& kernels, DType held_as);

// Packs the parts, all of one shape, with all threads; gives the file's pages back as it goes. Throws Error when FP8
// weights are no numbers, and for numbers that `held_as` cannot hold (tensor/quant_encode.h).
std::shared_ptr<MatrixStorage> pack_matrices(std::span<const MatrixPart> parts, DType held_as,
                                             const KernelTable& kernels, ThreadPool& pool,
                                             const MemorySource& memory);

// Row `row` of a packed matrix of `inputs` columns, exactly as it is held (any type but f8_e4m3).
void read_packed_row(const MatmulKernel& kernel, const std::byte* panels, int64_t inputs, int64_t row, float* out);

}  // namespace cachalot
