// What the types can hold, and a caller's numbers as parts for the search (quant_fit.h). Internal to quant_encode.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "tensor/dtype.h"
#include "tensor/quant_fit.h"

namespace cachalot {

constexpr float kLargestHalf = 65504;

// Of a type: element = scale * code + offset. A part's scale is d times a number from scale_low to scale_high, its
// offset a number from offset_low to offset_high, times an f16 as well. d is negative where that serves better, but
// never with offsets.
struct Reach {
  quant_fit::Codes codes;
  float scale_low, scale_high;
  float offset_low = 0, offset_high = 0;

  bool offsets() const { return offset_low < offset_high; }
  float steepest() const { return kLargestHalf * std::max(-scale_low, scale_high); }
  float largest() const { return std::max(-codes.low, codes.high) * steepest() + offset_high * kLargestHalf; }
  float lowest() const { return offsets() ? offset_low * kLargestHalf : -largest(); }
  float span() const { return (codes.high - codes.low) * steepest(); }  // between two numbers of a part
};

Reach reach_of(DType type);  // a type of blocks that can be written (CHECKed)

// Of the numbers of a part.
struct Extremes {
  float low, high;
  float outer() const { return -low > high ? low : high; }
};

// An element that keeps a block of these parts from being held; nothing when it can be.
std::optional<float> beyond(std::span<const Extremes> parts, const Reach& reach);

// Weights as the search needs them: finite, at least 0, the largest 1.
template <int N>
void fill_weights(std::span<quant_fit::Part<N>> part, const float* importance) {
  const int count = static_cast<int>(part.size()) * N;
  float heaviest = 0;
  const auto weight = [&](int i) { return importance[i] > 0 && std::isfinite(importance[i]) ? importance[i] : 0.0f; };
  for (int i = 0; importance && i < count; ++i) heaviest = std::max(heaviest, weight(i));
  for (int i = 0; i < count; ++i) part[i / N].w[i % N] = heaviest > 0 ? weight(i) / heaviest : 1.0f;
  // A part without any weight is still to hold sensible numbers.
  for (auto& p : part)
    if (*std::max_element(p.w, p.w + N) < 1e-9f) std::fill(p.w, p.w + N, 1e-9f);
}

// Numbers as the search needs them: finite, and no larger than the type reaches. Returns the index of an element that
// it cannot hold.
template <int N, size_t parts>
std::optional<size_t> fill_numbers(std::array<quant_fit::Part<N>, parts>& part, const float* x, const Reach& reach) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float largest_value = reach.largest();
  std::array<Extremes, parts> extremes;
  bool finite = true;
  float top = 0;
  for (size_t k = 0; k < parts; ++k) {
    Extremes& e = extremes[k] = {infinity, -infinity};
    for (int i = 0; i < N; ++i) {
      const float v = x[k * N + static_cast<size_t>(i)];
      finite &= std::fabs(v) < infinity;  // false for NaN, too
      e.low = std::min(e.low, v), e.high = std::max(e.high, v);
      part[k].x[i] = std::isnan(v) ? 0 : std::clamp(v, -largest_value, largest_value);
      top = std::max(top, std::fabs(part[k].x[i]));
    }
  }
  if (top < 1e-12f)
    for (auto& p : part) std::fill(p.x, p.x + N, 0.0f);
  const float* end = x + parts * N;
  if (!finite) return std::find_if_not(x, end, [](float v) { return std::isfinite(v); }) - x;
  const auto value = beyond(extremes, reach);
  return value ? std::optional(static_cast<size_t>(std::find(x, end, *value) - x)) : std::nullopt;
}

}  // namespace cachalot
