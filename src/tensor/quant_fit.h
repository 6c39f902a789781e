// The search behind quant_encode: which scale, and which offset, let a few small integers stand for a run of numbers
// with the least weighted square error. Internal to quant_encode.cpp.
//
// For fixed codes the best line is a least-squares problem with a closed solution; for a fixed line the best codes
// are the nearest integers. Alternating the two never raises the error but stops in the nearest valley, so it is
// started from a list of lines that clip the extremes more or less, and the best valley is kept.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cachalot::quant_fit {

// Four numbers; gcc and clang give such a type the operators. Sums run over lanes first: the same on every machine.
using Lanes [[gnu::vector_size(16)]] = float;

inline Lanes load(const float* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Lanes v) { std::memcpy(p, &v, sizeof v); }
inline Lanes all(float v) { return Lanes{v, v, v, v}; }
inline float sum(Lanes v) { return (v[0] + v[1]) + (v[2] + v[3]); }

// To the nearest integer, ties to even, for |v| < 2^22: beyond 1.5 * 2^23 an f32 has no fraction.
inline Lanes nearest(Lanes v) { return (v + all(0x1.8p23f)) - all(0x1.8p23f); }

// A run of numbers that share a scale, and how much the square of each one's error counts.
template <int N>
struct Part {
  alignas(16) float x[N];
  alignas(16) float w[N];
};

// The integers that a code may be.
struct Codes {
  float low, high;
};

// value = scale * code + offset
struct Line {
  float scale, offset;
};

struct Fit {
  Line line;
  float error;  // sum of w * (x - value)^2
};

inline float inverse_of(float scale) { return scale != 0 ? 1 / scale : 0; }

inline Lanes code_of(Lanes x, Lanes inverse, Lanes offset, Codes codes) {
  Lanes v = (x - offset) * inverse;
  v = v < all(codes.low) ? all(codes.low) : v;
  v = v > all(codes.high) ? all(codes.high) : v;
  return nearest(v);
}

template <int N>
void codes_of(const Part<N>& part, Line line, Codes codes, float* q) {
  const Lanes inverse = all(inverse_of(line.scale)), offset = all(line.offset);
  for (int i = 0; i < N; i += 4) store(q + i, code_of(load(part.x + i), inverse, offset, codes));
}

template <int N>
float error_of(const Part<N>& part, Line line, Codes codes) {
  const Lanes inverse = all(inverse_of(line.scale)), scale = all(line.scale), offset = all(line.offset);
  Lanes error = all(0);
  for (int i = 0; i < N; i += 4) {
    const Lanes x = load(part.x + i);
    const Lanes miss = x - (scale * code_of(x, inverse, offset, codes) + offset);
    error += load(part.w + i) * miss * miss;
  }
  return sum(error);
}

// The best scale for the codes that `line` gives, with its offset kept.
template <int N>
Line refit_scale(const Part<N>& part, Line line, Codes codes) {
  const Lanes inverse = all(inverse_of(line.scale)), offset = all(line.offset);
  Lanes xq = all(0), qq = all(0);
  for (int i = 0; i < N; i += 4) {
    const Lanes x = load(part.x + i), q = code_of(x, inverse, offset, codes), wq = load(part.w + i) * q;
    xq += wq * (x - offset);
    qq += wq * q;
  }
  const float norm = sum(qq);
  return norm > 0 ? Line{sum(xq) / norm, line.offset} : line;
}

// The best scale and offset for the codes that `line` gives. An offset above `highest_offset` is cut to it.
template <int N>
Line refit_line(const Part<N>& part, Line line, Codes codes, float highest_offset) {
  const Lanes inverse = all(inverse_of(line.scale)), offset = all(line.offset);
  Lanes w_sum = all(0), q_sum = all(0), x_sum = all(0), qq = all(0), xq = all(0);
  for (int i = 0; i < N; i += 4) {
    const Lanes x = load(part.x + i), w = load(part.w + i), q = code_of(x, inverse, offset, codes), wq = w * q;
    w_sum += w;
    q_sum += wq;
    x_sum += w * x;
    qq += wq * q;
    xq += wq * x;
  }
  const float weight = sum(w_sum);
  if (!(weight > 0)) return line;
  const float q_mean = sum(q_sum) / weight, x_mean = sum(x_sum) / weight;
  const float variance = sum(qq) - q_mean * sum(q_sum), covariance = sum(xq) - q_mean * sum(x_sum);
  if (!(variance > 1e-6f * sum(qq))) return line;
  const float scale = covariance / variance;
  const Line best = {scale, x_mean - scale * q_mean};
  if (best.offset <= highest_offset) return best;
  return refit_scale(part, Line{line.scale, highest_offset}, codes);
}

// Keeps the better of `fit` and the line given.
template <int N>
void offer(const Part<N>& part, Line line, Codes codes, Fit& fit) {
  const float error = error_of(part, line, codes);
  if (error < fit.error) fit = {line, error};
}

template <int N>
float largest(const Part<N>& part) {
  float found = 0;
  for (const float v : part.x)
    if (std::fabs(v) > std::fabs(found)) found = v;
  return found;
}

// The best line without offset. Codes are about as many below zero as above; the extra one below may serve either
// sign, since the scale may be negative.
template <int N>
Fit fit_scale(const Part<N>& part, Codes codes, int starts_per_side) {
  const float extreme = largest(part);
  Fit best = {{0, 0}, error_of(part, {0, 0}, codes)};
  if (extreme == 0) return best;
  // Where the extreme lands, in codes: from a little inside the range to well outside of it (clipped).
  const float reach = -codes.low, first = 0.92f * reach, step = 0.3f * reach / static_cast<float>(starts_per_side);
  for (int side = 0; side < 2; ++side) {
    for (int k = 0; k < starts_per_side; ++k) {
      const float lands_at = first + step * static_cast<float>(k) - (side ? reach - codes.high : 0);
      const Line start = {side ? extreme / lands_at : -extreme / lands_at, 0};
      offer(part, refit_scale(part, start, codes), codes, best);
    }
  }
  for (int round = 0; round < 3; ++round) {
    const float before = best.error;
    offer(part, refit_scale(part, best.line, codes), codes, best);
    if (!(best.error < before)) break;
  }
  return best;
}

// The best line with an offset of at most `highest_offset`, for codes from 0.
template <int N>
Fit fit_line(const Part<N>& part, Codes codes, float highest_offset, int starts_per_side) {
  float low = part.x[0], high = part.x[0];
  for (const float v : part.x) low = std::min(low, v), high = std::max(high, v);
  low = std::min(low, highest_offset);
  Fit best = {{0, low}, error_of(part, {0, low}, codes)};
  if (!(high > low)) return best;
  // How far, in codes, the lowest and the highest number lie outside of the range.
  const float first = -0.3f, step = (0.9f + codes.high / 12) / static_cast<float>(starts_per_side);
  for (int a = 0; a < starts_per_side; ++a) {
    for (int b = 0; b < starts_per_side; ++b) {
      const float below = first + step * static_cast<float>(a), above = first + step * static_cast<float>(b);
      const float scale = (high - low) / (codes.high + below + above);
      const Line start = {scale, std::min(low + below * scale, highest_offset)};
      offer(part, refit_line(part, start, codes, highest_offset), codes, best);
    }
  }
  for (int round = 0; round < 3; ++round) {
    const float before = best.error;
    offer(part, refit_line(part, best.line, codes, highest_offset), codes, best);
    if (!(best.error < before)) break;
  }
  return best;
}

}  // namespace cachalot::quant_fit
