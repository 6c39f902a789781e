#include "tensor/tensor.h"

#include <fmt/ranges.h>

#include <span>

namespace cachalot {

std::string shape_text(const Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(std::span(tensor.shape.data(), static_cast<size_t>(tensor.rank)), ", "));
}

}  // namespace cachalot
