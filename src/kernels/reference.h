// Every kernel's definition, in f64 and in the plainest words: what the tables are tested and benchmarked against.
// Nothing here is fast and nothing else in the program uses it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace cachalot::reference {

using Row = std::vector<double>;

// y[m][n] = start[m][n] + sum over k of x[m][k] * w[n][k]; an empty start is zeros. x is [M][K], w is [N][K].
inline Row matmul(std::span<const float> x, std::span<const float> w, int64_t M, int64_t N, int64_t K,
                  std::span<const float> start = {}) {
  Row y(static_cast<size_t>(M * N));
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n) {
      double sum = start.empty() ? 0.0 : start[m * N + n];
      for (int64_t k = 0; k < K; ++k) sum += static_cast<double>(x[m * K + k]) * w[n * K + k];
      y[m * N + n] = sum;
    }
  return y;
}

// What an error bound of a dot product scales with: start and products by magnitude.
inline Row matmul_magnitude(std::span<const float> x, std::span<const float> w, int64_t M, int64_t N, int64_t K,
                            std::span<const float> start = {}) {
  std::vector<float> x_abs(x.begin(), x.end()), w_abs(w.begin(), w.end()), start_abs(start.begin(), start.end());
  for (auto* values : {&x_abs, &w_abs, &start_abs})
    for (float& value : *values) value = std::abs(value);
  return matmul(x_abs, w_abs, M, N, K, start_abs);
}

// panel[unit][n] = the unit-th 32 bits of row n; zero where there is no row.
inline std::vector<uint32_t> pack_panel(std::span<const uint32_t> w, int64_t rows, int64_t units, int64_t columns) {
  std::vector<uint32_t> panel(static_cast<size_t>(units * columns));
  for (int64_t n = 0; n < rows; ++n)
    for (int64_t u = 0; u < units; ++u) panel[u * columns + n] = w[n * units + u];
  return panel;
}

inline Row rms_norm(std::span<const float> x_D, std::span<const float> gain_D, double eps) {
  double squares = 0;
  for (const double x : x_D) squares += x * x;
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x_D.size()) + eps);
  Row y_D;
  for (size_t d = 0; d < x_D.size(); ++d) y_D.push_back(x_D[d] * scale * gain_D[d]);
  return y_D;
}

// `halves`: pair i is (x_i, x_{i+R/2}); otherwise (x_{2i}, x_{2i+1}). The results take the places of their inputs.
inline Row rope(std::span<const float> x_R, std::span<const float> cos, std::span<const float> sin, bool halves) {
  Row y_R(x_R.size());
  const size_t pairs = x_R.size() / 2;
  for (size_t i = 0; i < pairs; ++i) {
    const size_t first = halves ? i : 2 * i, second = halves ? i + pairs : 2 * i + 1;
    const double a = x_R[first], b = x_R[second];
    y_R[first] = a * cos[i] - b * sin[i];
    y_R[second] = b * cos[i] + a * sin[i];
  }
  return y_R;
}

inline double silu(double z, double beta = 1) { return z / (1 + std::exp(-beta * z)); }
inline double gelu(double z) { return 0.5 * z * (1 + std::erf(z / std::sqrt(2.0))); }

inline Row swiglu(std::span<const float> gate, std::span<const float> up) {
  Row y;
  for (size_t i = 0; i < gate.size(); ++i) y.push_back(silu(gate[i]) * up[i]);
  return y;
}

// Weights of the keys in [begin, end), 0 elsewhere. The block-wise kernel must arrive at the same when it divides by
// its sum at the end.
inline Row softmax(std::span<const float> score, int64_t begin, int64_t end, double scale) {
  Row weights(score.size());
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = begin; i < end; ++i) top = std::fmax(top, score[i] * scale);
  for (int64_t i = begin; i < end; ++i) sum += weights[i] = std::exp(score[i] * scale - top);
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace cachalot::reference
