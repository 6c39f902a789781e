#include "ops/cpu/panels.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace cachalot {

void tokens_to_rows(const KernelTable& kernels, const MatmulKernel& kernel, const std::byte* panels,
                    int64_t panel_dim, int tokens, int64_t dim, void* rows) {
  DCHECK(kernel.weights == DType::f32 || dim % 2 == 0);
  const int64_t units = kernel.units(dim), stride = int64_t{kernel.columns} * 4;
  // A panel is a matrix of units by tokens: its transpose is the rows. Few tokens at a time, as the transposing
  // kernel writes large results past the caches.
  constexpr int kStep = 16;
  for (int t = 0; t < tokens; t += kStep) {
    const std::byte* panel = panels + t / kernel.columns * kernel.panel_bytes(panel_dim);
    kernels.pack_panel(panel + int64_t{t % kernel.columns} * 4, stride, static_cast<int>(units),
                       std::min(kStep, tokens - t), static_cast<int>(units),
                       static_cast<std::byte*>(rows) + t * units * 4);
  }
}

// Pairs of bf16: unit n is (a[n], b[n]).
static void zip(const uint16_t* a, const uint16_t* b, int64_t n, uint32_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] | static_cast<uint32_t>(b[i]) << 16;
}

void inputs_to_panels(const MatmulKernel& kernel, const void* rows, int64_t row_bytes, int64_t inputs,
                      int64_t outputs, std::byte* panels, int64_t panel_bytes) {
  const bool pairs = kernel.weights == DType::bf16;
  DCHECK(!pairs || inputs % 2 == 0);
  const auto* from = static_cast<const std::byte*>(rows);
  for (int64_t n = 0; n < outputs; n += kernel.columns, panels += panel_bytes) {
    const int64_t used = std::min<int64_t>(kernel.columns, outputs - n);
    auto* unit = reinterpret_cast<uint32_t*>(panels);
    for (int64_t k = 0; k < inputs; k += pairs ? 2 : 1, unit += kernel.columns) {
      const std::byte* row = from + k * row_bytes;
      if (pairs)
        zip(reinterpret_cast<const uint16_t*>(row) + n, reinterpret_cast<const uint16_t*>(row + row_bytes) + n, used,
            unit);
      else
        std::memcpy(unit, row + n * 4, static_cast<size_t>(used) * 4);
      std::fill(unit + used, unit + kernel.columns, 0u);
    }
  }
}

}  // namespace cachalot
