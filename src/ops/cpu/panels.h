// Packed matrices: rows of panels that matrix kernels read. How numbers lie in a panel is MatmulKernel's
// (kernels/table.h); how many panels there are, how large, and where each begins is said here alone.
#pragma once

#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "kernels/table.h"
#include "tensor/arena.h"

namespace cachalot {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a matrix [outputs, inputs] lies in memory when it is packed for a kernel.
struct PanelLayout {
  const MatmulKernel* kernel = nullptr;
  int64_t outputs = 0, inputs = 0;

  int64_t columns() const { return kernel->columns; }  // outputs of a panel
  int64_t panels() const { return divide_up(outputs, kernel->columns); }
  int64_t panel_bytes() const { return kernel->panel_bytes(inputs); }
  int64_t bytes() const { return panels() * panel_bytes(); }
  int64_t first_output(int64_t panel) const { return panel * kernel->columns; }
  // Outputs of the panels [begin, end) that exist.
  int64_t outputs_of(int64_t begin, int64_t end) const {
    return std::min(first_output(end), outputs) - first_output(begin);
  }
};

// A packed matrix in somebody's memory, or some neighbouring panels of it, or the same slice of k of all its panels.
// Byte is const for Panels, which are read, and not for WritablePanels.
template <typename Byte>
class PanelView {
 public:
  PanelView() = default;
  PanelView(const PanelLayout& layout, Byte* memory)
      : layout_(layout), memory_(memory), stride_bytes_(layout.panel_bytes()) {}
  operator PanelView<const std::byte>() const {
    PanelView<const std::byte> view;
    view.layout_ = layout_, view.memory_ = memory_, view.stride_bytes_ = stride_bytes_;
    return view;
  }

  explicit operator bool() const { return memory_ != nullptr; }
  const PanelLayout& layout() const { return layout_; }
  int64_t panels() const { return layout_.panels(); }
  Byte* panel(int64_t i) const { return memory_ + i * stride_bytes_; }

  // Panels [begin, end).
  PanelView part(int64_t begin, int64_t end) const {
    PanelView view = *this;
    view.memory_ = panel(begin), view.layout_.outputs = layout_.outputs_of(begin, end);
    return view;
  }
  // The inputs [k, k + count) of every panel; k is where a unit, and a block of the kernel, begins.
  PanelView slice(int64_t k, int64_t count) const {
    PanelView view = *this;
    view.memory_ += layout_.kernel->panel_bytes(k), view.layout_.inputs = count;
    return view;
  }

  // Of plain types (f32, bf16): the 32-bit unit u of an output; the next unit is `columns` units further.
  auto* unit(int64_t u, int64_t output) const {
    using Unit = std::conditional_t<std::is_const_v<Byte>, const uint32_t, uint32_t>;
    const int64_t columns = layout_.columns();
    return reinterpret_cast<Unit*>(panel(output / columns)) + u * columns + output % columns;
  }
  // Number k of an output, a Number being as large as the kernel's.
  template <typename Number>
  auto& number(int64_t k, int64_t output) const {
    using Element = std::conditional_t<std::is_const_v<Byte>, const Number, Number>;
    constexpr int64_t per_unit = 4 / sizeof(Number);
    return reinterpret_cast<Element*>(unit(k / per_unit, output))[k % per_unit];
  }

  // y[rows][outputs], rows y_stride apart, for `rows` rows of inputs that the kernel has prepared.
  void multiply(const std::byte* inputs, int64_t rows, float* y, int64_t y_stride) const {
    layout_.kernel->multiply(
        inputs, rows,
        {.first = memory_, .stride_bytes = stride_bytes_, .K = layout_.inputs, .outputs = layout_.outputs}, y,
        y_stride);
  }

 private:
  template <typename Other>
  friend class PanelView;

  PanelLayout layout_;
  Byte* memory_ = nullptr;
  int64_t stride_bytes_ = 0;
};

using Panels = PanelView<const std::byte>;
using WritablePanels = PanelView<std::byte>;

std::byte* allocate_bytes(Arena& arena, int64_t bytes);
WritablePanels allocate_panels(Arena& arena, const PanelLayout& layout);

// -- Moves between rows and panels, for the two that MLA's one cached key becomes: rows of tokens, and panels whose
// inputs are tokens. Numbers are moved as they are, in the kernel's own plain type.

// Panels whose outputs are tokens -> rows of tokens, of all inputs of the panels. bf16: an even number of them.
void outputs_to_rows(const KernelTable& kernels, const Panels& panels, std::byte* rows);

// Rows of inputs (row k holds input k of all outputs, without gaps) -> the panels' inputs. bf16: an even number of
// inputs. Outputs that are missing become zeros.
void inputs_to_panels(const std::byte* rows, const WritablePanels& panels);

}  // namespace cachalot
