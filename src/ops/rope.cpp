#include "ops/rope.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace cachalot {

// base^(2i/R), exponent and power both in f32. The reference's vectorised pow differs from C's in the last place for
// a few indices of large tables; tests/goldens/rope lists them.
static std::vector<float> position_periods(int dim, float base) {
  std::vector<float> periods;
  for (int i = 0; i < dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dim);
    periods.push_back(std::pow(base, exponent));
  }
  return periods;
}

static std::vector<float> inverted(std::vector<float> periods) {
  for (float& period : periods) period = 1.0f / period;
  return periods;
}

// The base grows with the declared length n > M: base * (factor * n / M - (factor - 1))^(R / (R - 2)). The reference
// holds n in a tensor then, so the growth is rounded to f32 step by step; up to M it computes in f64 with n = M.
static float dynamic_base(const RopeSpec& s, int sequence_tokens) {
  const double exponent = s.dim / (s.dim - 2.0);
  if (sequence_tokens <= s.trained_tokens) {
    const double growth = s.factor * s.trained_tokens / s.trained_tokens - (s.factor - 1);
    return static_cast<float>(s.base * std::pow(growth, exponent));
  }
  const float scaled = static_cast<float>(s.factor) * static_cast<float>(sequence_tokens);
  const float growth = scaled / static_cast<float>(s.trained_tokens) - static_cast<float>(s.factor - 1);
  return static_cast<float>(s.base) * static_cast<float>(std::pow(static_cast<double>(growth), exponent));
}

// Qwen1: base * alpha^(R / (R - 2)), alpha = 2^ceil(log2(n / S) + 1) - 1 for a prompt of n > S tokens; the logarithm
// as the released code takes it, a quotient of natural ones.
static float qwen_ntk_base(const RopeSpec& s, int sequence_tokens) {
  const double doublings = std::log(static_cast<double>(sequence_tokens) / s.trained_tokens) / std::log(2.0);
  const double steps = std::ceil(doublings + 1);
  const double alpha = std::max(std::exp2(steps) - 1, 1.0);
  return static_cast<float>(s.base * std::pow(alpha, s.dim / (s.dim - 2.0)));
}

static std::vector<float> yarn(const RopeSpec& s) {
  // The index whose wavelength fits `rotations` times into the training length.
  const auto index_of = [&](double rotations) {
    return s.dim * std::log(s.trained_tokens / (rotations * 2 * M_PI)) / (2 * std::log(s.base));
  };
  double low = index_of(s.beta_fast), high = index_of(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, s.dim - 1.0);
  if (low == high) high += 0.001;

  std::vector<float> inverse = position_periods(s.dim, static_cast<float>(s.base));
  for (size_t i = 0; i < inverse.size(); ++i) {
    const float extrapolated = 1.0f / inverse[i];
    const float interpolated = 1.0f / (static_cast<float>(s.factor) * inverse[i]);
    const float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    const float a = interpolated * (1.0f - keep), b = extrapolated * keep;
    inverse[i] = a + b;
  }
  return inverse;
}

static std::vector<float> longrope(const RopeSpec& s, int sequence_tokens) {
  const auto& divisors = sequence_tokens > s.trained_tokens ? s.long_divisors : s.divisors;
  std::vector<float> periods = position_periods(s.dim, static_cast<float>(s.base));
  CHECK(divisors.size() == periods.size());
  for (size_t i = 0; i < periods.size(); ++i) periods[i] *= static_cast<float>(divisors[i]);
  return inverted(std::move(periods));
}

// A number divided by a tensor is, in the reference, the number times the tensor's reciprocal.
static float quotient(double number, float divisor) { return 1.0f / divisor * static_cast<float>(number); }

static std::vector<float> llama3(const RopeSpec& s) {
  std::vector<float> inverse = inverted(position_periods(s.dim, static_cast<float>(s.base)));
  const auto factor = static_cast<float>(s.factor);
  const auto longest = static_cast<float>(s.trained_tokens / s.low_freq_factor);
  const auto shortest = static_cast<float>(s.trained_tokens / s.high_freq_factor);
  for (float& inv : inverse) {
    const float wavelength = quotient(2 * M_PI, inv);
    if (wavelength > longest) {
      inv /= factor;
    } else if (!(wavelength < shortest)) {
      const float smooth = (quotient(s.trained_tokens, wavelength) - static_cast<float>(s.low_freq_factor)) /
                           static_cast<float>(s.high_freq_factor - s.low_freq_factor);
      const float a = (1.0f - smooth) * inv / factor, b = smooth * inv;
      inv = a + b;
    }
  }
  return inverse;
}

std::vector<float> inverse_frequencies(const RopeSpec& s, int sequence_tokens) {
  CHECK(s.dim > 0 && s.dim % 2 == 0);
  const auto base = static_cast<float>(s.base);
  switch (s.scaling) {
    case RopeScaling::none: return inverted(position_periods(s.dim, base));
    case RopeScaling::dynamic: return inverted(position_periods(s.dim, dynamic_base(s, sequence_tokens)));
    case RopeScaling::qwen_ntk: return inverted(position_periods(s.dim, qwen_ntk_base(s, sequence_tokens)));
    case RopeScaling::log_ntk: {
      auto inverse = inverted(position_periods(s.dim, base));
      const auto growth =
          static_cast<float>(1 + s.gamma * std::log(static_cast<double>(std::max(1, sequence_tokens))));
      for (float& inv : inverse) inv *= growth;
      return inverse;
    }
    case RopeScaling::yarn: return yarn(s);
    case RopeScaling::longrope: return longrope(s, sequence_tokens);
    case RopeScaling::llama3: return llama3(s);
    case RopeScaling::linear: {
      auto inverse = inverted(position_periods(s.dim, base));
      for (float& inv : inverse) inv /= static_cast<float>(s.factor);
      return inverse;
    }
    case RopeScaling::divisors: {
      auto inverse = inverted(position_periods(s.dim, base));
      CHECK(s.divisors.size() == inverse.size());
      for (size_t i = 0; i < inverse.size(); ++i) inverse[i] /= static_cast<float>(s.divisors[i]);
      return inverse;
    }
  }
  CHECK(false, "unreachable");
}

double yarn_mscale(double factor, double k) { return factor <= 1 ? 1.0 : 0.1 * k * std::log(factor) + 1.0; }

double yarn_attention_factor(double factor, std::optional<double> mscale, std::optional<double> mscale_all_dim) {
  if (mscale.value_or(0) != 0 && mscale_all_dim.value_or(0) != 0)
    return yarn_mscale(factor, *mscale) / yarn_mscale(factor, *mscale_all_dim);
  return yarn_mscale(factor, 1);
}

float logn_factor(const LogNSpec& spec, int position) {
  const double tokens = position + 1.0;
  if (spec.form == LogNSpec::Form::log) return static_cast<float>(std::log(tokens));
  if (spec.form == LogNSpec::Form::none || tokens <= spec.trained_tokens) return 1;
  return static_cast<float>(std::log(tokens) / std::log(static_cast<double>(spec.trained_tokens)));
}

}  // namespace cachalot
