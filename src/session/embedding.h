// From the rows that an engine has pooled to the vector that a caller is told.
#pragma once

#include <optional>
#include <vector>

namespace cachalot {

// Its first `dimensions` numbers (models that are trained for it, Matryoshka, say the most in these), and of those
// what has length 1 where `normalized`; its numbers are in f64 until they are rounded once. A vector of zeros stays.
std::vector<float> told_embedding(std::vector<float> pooled, std::optional<int> dimensions, bool normalized);

}  // namespace cachalot
