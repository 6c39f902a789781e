#include "ops/cpu/weights.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "tensor/quant_encode.h"

namespace cachalot {

const MatmulKernel& matmul_kernel(const KernelTable& kernels, DType held_as) {
  if (held_as == DType::f32) return kernels.matmul_f32;
  if (held_as == DType::f8_e4m3) return kernels.matmul_fp8;
  if (held_as == DType::bf16) return kernels.matmul_bf16;
  for (const MatmulKernel& kernel : kernels.matmul_quantized)
    if (kernel.weights == held_as) return kernel;
  CHECK(false, "matrices held as {}", name(held_as));
}

namespace {

// Packs panels of one part. One per worker: it owns the memory that conversions pass through.
class Packer {
 public:
  Packer(const KernelTable& kernels, const MatmulKernel& kernel) : kernels_(kernels), kernel_(kernel) {}

  // Rows [begin, begin + rows) of `part` as one panel: straight from the file when it holds them as the panel does,
  // else by way of f32, quantized anew where the kernel wants that. Throws Error when FP8 weights are no numbers.
  void pack(const MatrixPart& part, int64_t begin, int rows, std::byte* panel) {
    const StoredTensor& stored = part.stored;
    const int64_t inputs = part.columns();
    PanelRows source = {.w = nullptr,
                        .w_stride_bytes = row_bytes(kernel_.weights, inputs),
                        .rows = rows,
                        .K = inputs,
                        .factors = nullptr,
                        .factor_stride = 0};
    if (!part.transposed) stored.check_rows(begin, begin + rows);
    if (!part.transposed && stored.dtype == kernel_.weights) {
      source.w = stored.row(begin).data();
      if (stored.scales) read_factors(stored, begin, source);
    } else {
      source.w = converted_rows(part, begin, rows);
    }
    kernel_.pack(source, panel);
  }

 private:
  void read_row(const MatrixPart& part, int64_t r, float* out) {
    if (!part.transposed) {
      part.stored.read_rows(r, r + 1, out);
      return;
    }
    const int64_t columns = part.stored.columns();
    if (whole_of_ != &part) {  // a transposed part is one head's: small enough to be held whole
      part.stored.check_rows(0, part.stored.rows());
      whole_.resize(static_cast<size_t>(part.stored.elements()));
      part.stored.read_rows(0, part.stored.rows(), whole_.data());
      whole_of_ = &part;
    }
    for (int64_t i = 0; i < part.stored.rows(); ++i) out[i] = whole_[static_cast<size_t>(i * columns + r)];
  }

  // Rows in the type that the kernel holds, by way of f32.
  const void* converted_rows(const MatrixPart& part, int64_t begin, int rows) {
    CHECK(kernel_.weights != DType::f8_e4m3, "only FP8 weights are held as FP8");
    const int64_t inputs = part.columns();
    rows_.resize(static_cast<size_t>(rows * inputs));
    for (int r = 0; r < rows; ++r) read_row(part, begin + r, rows_.data() + r * inputs);
    if (kernel_.weights == DType::f32) return rows_.data();
    if (kernel_.quantized()) {
      bytes_.resize(static_cast<size_t>(row_bytes(kernel_.weights, inputs) * rows));
      if (const auto index = quantize(kernel_.weights, rows_, {}, bytes_)) refuse(part, begin, *index);
      return bytes_.data();
    }
    check_bf16(part, begin);
    halves_.resize(rows_.size());
    kernels_.f32_to_bf16(rows_.data(), rows * inputs, halves_.data());
    return halves_.data();
  }

  // NaN and infinities stay what they are in bf16, and no type of fewer bits is beyond it.
  void check_bf16(const MatrixPart& part, int64_t begin) const {
    if (part.stored.dtype != DType::f32 && part.stored.dtype != DType::f64 && !part.stored.scales) return;
    constexpr uint32_t kRoundsUp = 0x7f7f8000, kInfinity = 0x7f800000;
    bool lost = false;  // no early end, so that the compiler makes vectors of it
    const auto becomes_infinite = [](float v) {
      const uint32_t size = std::bit_cast<uint32_t>(v) & 0x7fffffff;
      return size >= kRoundsUp && size < kInfinity;
    };
    for (const float v : rows_) lost |= becomes_infinite(v);
    if (lost)
      refuse(part, begin,
             static_cast<size_t>(std::find_if(rows_.begin(), rows_.end(), becomes_infinite) - rows_.begin()));
  }

  // Element `index` of rows_, which begin at row `begin` of the part.
  [[noreturn]] void refuse(const MatrixPart& part, int64_t begin, size_t index) const {
    const auto at = static_cast<int64_t>(index), inputs = part.columns();
    const int64_t row = part.transposed ? at % inputs : begin + at / inputs;
    throw not_held(part.stored.name, part.stored.first_row + row, rows_[index], kernel_.weights, "--weights")
        .in(part.stored.file ? part.stored.file->path().string() : "");
  }

  // The factors of every row and block of the kernel, which may be a part of a block of the file.
  void read_factors(const StoredTensor& stored, int64_t begin, PanelRows& source) {
    const BlockScales& scales = *stored.scales;
    CHECK(scales.block_columns % kernel_.block_inputs == 0);
    const int64_t blocks = divide_up(source.K, kernel_.block_inputs);
    grid_row_.resize(static_cast<size_t>(scales.grid_columns));
    factors_.resize(static_cast<size_t>(source.rows * blocks));
    for (int r = 0; r < source.rows; ++r) {
      scales.read_row(begin + r, grid_row_);
      for (int64_t b = 0; b < blocks; ++b)
        factors_[r * blocks + b] = grid_row_[b * kernel_.block_inputs / scales.block_columns];
    }
    source.factors = factors_.data(), source.factor_stride = blocks;
  }

  const KernelTable& kernels_;
  const MatmulKernel& kernel_;
  std::vector<float> rows_, whole_, grid_row_, factors_;
  std::vector<uint16_t> halves_;
  std::vector<std::byte> bytes_;
  const MatrixPart* whole_of_ = nullptr;
};

}  // namespace

std::shared_ptr<MatrixStorage> pack_matrices(std::span<const MatrixPart> parts, DType held_as,
                                             const KernelTable& kernels, ThreadPool& pool,
                                             const MemorySource& source) {
  const MatmulKernel& kernel = matmul_kernel(kernels, held_as);
  const PanelLayout layout{&kernel, parts[0].rows(), parts[0].columns()};
  const int64_t panels = layout.panels();

  const std::shared_ptr<std::byte> memory = source(static_cast<size_t>(std::ssize(parts) * layout.bytes()));
  const int64_t grain = std::max<int64_t>(1, (1 << 20) / layout.panel_bytes());
  pool.for_each_chunk(std::ssize(parts) * panels, grain, [&](int64_t begin, int64_t end) {
    Packer packer(kernels, kernel);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i / panels, p = i % panels;
      const WritablePanels matrix(layout, memory.get() + part * layout.bytes());
      packer.pack(parts[static_cast<size_t>(part)], layout.first_output(p),
                  static_cast<int>(layout.outputs_of(p, p + 1)), matrix.panel(p));
    }
    // The file's pages are needed no more; held until the end, a large matrix would be in memory twice.
    for (int64_t i = begin; i < end; i += panels - i % panels) {
      const MatrixPart& part = parts[static_cast<size_t>(i / panels)];
      const int64_t first = i % panels, last = std::min(panels, first + end - i);
      if (!part.transposed)
        part.stored.release_rows(layout.first_output(first), std::min(layout.first_output(last), part.stored.rows()));
    }
  });
  auto storage = std::make_shared<MatrixStorage>();
  storage->layout = layout, storage->memory = memory;
  return storage;
}

void read_packed_row(const Panels& matrix, int64_t row, float* out) {
  const MatmulKernel& kernel = *matrix.layout().kernel;
  const int64_t inputs = matrix.layout().inputs, columns = kernel.columns;
  if (kernel.quantized())
    return kernel.unpack(matrix.panel(row / columns), inputs, static_cast<int>(row % columns), out);
  CHECK(kernel.weights == DType::f32 || kernel.weights == DType::bf16, "rows of {}", name(kernel.weights));
  const uint32_t* units = matrix.unit(0, row);
  if (kernel.weights == DType::f32) {
    for (int64_t k = 0; k < inputs; ++k) out[k] = std::bit_cast<float>(units[k * columns]);
    return;
  }
  for (int64_t k = 0; k < inputs; ++k) {
    const uint32_t unit = units[k / 2 * columns];
    out[k] = std::bit_cast<float>(k % 2 ? unit & 0xffff0000 : unit << 16);
  }
}

}  // namespace cachalot
