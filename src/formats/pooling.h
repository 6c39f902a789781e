// Which rows of a text's hidden states, behind the final norm, make its embedding: one, or the mean of all.
#pragma once

#include <string_view>

namespace cachalot {

enum class Pooling { last, mean, first };

constexpr std::string_view name(Pooling pooling) {
  return pooling == Pooling::last ? "last" : pooling == Pooling::mean ? "mean" : "first";
}

}  // namespace cachalot
