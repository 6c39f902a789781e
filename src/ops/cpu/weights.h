// Weights as CpuOps holds them: matrices as panels of the matrix kernel of their type, vectors as f32.
#pragma once

#include "base/thread_pool.h"
#include "kernels/table.h"
#include "ops/cpu/panels.h"
#include "ops/ops.h"

namespace cachalot {

// The matrices of a weight, one after another.
struct MatrixStorage final : Weight::Storage {
  PanelLayout layout;  // of each
  std::shared_ptr<const std::byte> memory;
};

struct VectorStorage final : Weight::Storage {
  std::shared_ptr<std::byte> memory;

  float* values() { return reinterpret_cast<float*>(memory.get()); }
  const float* values() const { return reinterpret_cast<const float*>(memory.get()); }
};

// Matrix `part` of a weight (0 for a plain matrix).
inline Panels panels_of(const Weight& w, int64_t part = 0) {
  const auto& storage = static_cast<const MatrixStorage&>(*w.storage);
  return {storage.layout, storage.memory.get() + (w.first + part) * storage.layout.bytes()};
}
// The numbers of vector `part` of a weight.
inline const float* vector_of(const Weight& w, int64_t part = 0) {
  return static_cast<const VectorStorage&>(*w.storage).values() +
         (w.first + part) * w.shape[static_cast<size_t>(w.rank - 1)];
}

// The kernel that multiplies with weights held so.
const MatmulKernel& matmul_kernel(const KernelTable& kernels, DType held_as);

// Packs the parts, all of one shape, with all threads; gives the file's pages back as it goes. Throws Error when FP8
// weights are no numbers, and for numbers that `held_as` cannot hold (tensor/quant_encode.h).
std::shared_ptr<MatrixStorage> pack_matrices(std::span<const MatrixPart> parts, DType held_as,
                                             const KernelTable& kernels, ThreadPool& pool,
                                             const MemorySource& memory);

// Row `row` of a packed matrix, exactly as it is held (any type but f8_e4m3).
void read_packed_row(const Panels& matrix, int64_t row, float* out);

}  // namespace cachalot
