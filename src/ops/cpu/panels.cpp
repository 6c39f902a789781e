#include "ops/cpu/panels.h"

#include <cstring>

namespace cachalot {

std::byte* allocate_bytes(Arena& arena, int64_t bytes) {
  return static_cast<std::byte*>(arena.allocate(static_cast<size_t>(bytes)));
}

WritablePanels allocate_panels(Arena& arena, const PanelLayout& layout) {
  return {layout, allocate_bytes(arena, layout.bytes())};
}

void outputs_to_rows(const KernelTable& kernels, const Panels& panels, std::byte* rows) {
  const PanelLayout& layout = panels.layout();
  DCHECK(layout.kernel->weights == DType::f32 || layout.inputs % 2 == 0);
  const int64_t units = layout.kernel->units(layout.inputs), stride = layout.columns() * 4;
  // A panel is a matrix of units by tokens: its transpose is the rows. Few tokens at a time, as the transposing
  // kernel writes large results past the caches.
  constexpr int64_t kStep = 16;
  for (int64_t t = 0; t < layout.outputs; t += kStep)
    kernels.pack_panel(panels.unit(0, t), stride, static_cast<int>(units), std::min(kStep, layout.outputs - t),
                       static_cast<int>(units), rows + t * units * 4);
}

// Pairs of bf16: unit n is (a[n], b[n]).
static void zip(const uint16_t* a, const uint16_t* b, int64_t n, uint32_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = a[i] | static_cast<uint32_t>(b[i]) << 16;
}

void inputs_to_panels(const std::byte* rows, const WritablePanels& panels) {
  const PanelLayout& layout = panels.layout();
  const bool pairs = layout.kernel->weights == DType::bf16;
  DCHECK(!pairs || layout.inputs % 2 == 0);
  const int64_t number_bytes = pairs ? 2 : 4, row_bytes = layout.outputs * number_bytes, columns = layout.columns();
  for (int64_t p = 0; p < panels.panels(); ++p) {
    const int64_t first = layout.first_output(p), used = layout.outputs_of(p, p + 1);
    uint32_t* unit = panels.unit(0, first);
    for (int64_t k = 0; k < layout.inputs; k += pairs ? 2 : 1, unit += columns) {
      const std::byte* from = rows + k * row_bytes + first * number_bytes;
      if (pairs)
        zip(reinterpret_cast<const uint16_t*>(from), reinterpret_cast<const uint16_t*>(from + row_bytes), used, unit);
      else
        std::memcpy(unit, from, static_cast<size_t>(used) * 4);
      std::fill(unit + used, unit + columns, 0u);
    }
  }
}

}  // namespace cachalot
