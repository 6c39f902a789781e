#include "session/embedding.h"

#include <cmath>

#include "base/check.h"

namespace cachalot {

std::vector<float> told_embedding(std::vector<float> pooled, std::optional<int> dimensions, bool normalized) {
  if (dimensions) {
    CHECK(*dimensions >= 1 && *dimensions <= std::ssize(pooled));
    pooled.resize(static_cast<size_t>(*dimensions));
  }
  double squares = 0;
  for (const float x : pooled) squares += static_cast<double>(x) * x;
  if (!normalized || squares == 0) return pooled;
  const double length = std::sqrt(squares);
  for (float& x : pooled) x = static_cast<float>(x / length);
  return pooled;
}

}  // namespace cachalot
