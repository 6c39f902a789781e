#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"

namespace cachalot {

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
    case FinishReason::error: return "error";
  }
  return "";
}

static void check_range(std::string_view name, double value, double low, double high) {
  if (!(value >= low && value <= high))
    throw Error(fmt::format("{} must be between {} and {}, not {}", name, low, high, value))
        .in("sampling parameters");
}

void SamplingParams::check() const {
  check_range("temperature", temperature, 0, 100);
  check_range("top_k", top_k, 0, 1 << 30);
  check_range("top_p", top_p, 0, 1);
  check_range("min_p", min_p, 0, 1);
  check_range("repeat_penalty", repeat_penalty, 1e-3, 1e3);
  check_range("presence_penalty", presence_penalty, -100, 100);
  check_range("frequency_penalty", frequency_penalty, -100, 100);
}

namespace {

struct Candidate {
  int32_t token;
  float logit;
};

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void apply_penalties(std::vector<float>& logits, std::span<const int32_t> tokens, int prompt_tokens,
                     const SamplingParams& p) {
  std::map<int32_t, int> in_answer;  // 0 for tokens that only the prompt has
  for (size_t i = 0; i < tokens.size(); ++i) in_answer[tokens[i]] += i >= static_cast<size_t>(prompt_tokens);
  for (const auto& [token, count] : in_answer) {
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = static_cast<float>(logit > 0 ? logit / p.repeat_penalty : logit * p.repeat_penalty);
    if (count > 0) logit -= static_cast<float>(p.presence_penalty + p.frequency_penalty * count);
  }
}

// Cuts `kept` (most likely first) to what top_p and min_p leave; the likeliest always stays.
void cut_tail(std::vector<Candidate>& kept, const SamplingParams& p) {
  const double top = kept[0].logit;
  const auto weight = [&](const Candidate& c) { return std::exp(c.logit - top); };
  if (p.top_p < 1) {
    const double total = std::accumulate(kept.begin(), kept.end(), 0.0,
                                         [&](double sum, const Candidate& c) { return sum + weight(c); });
    double sum = 0;
    size_t count = 0;
    while (count < kept.size() && (count == 0 || sum < p.top_p * total)) sum += weight(kept[count++]);
    kept.resize(count);
  }
  if (p.min_p > 0)
    while (kept.size() > 1 && weight(kept.back()) < p.min_p) kept.pop_back();
}

}  // namespace

std::optional<int32_t> Sampler::sample(std::span<const float> logits_W, std::span<const int32_t> tokens,
                                       int prompt_tokens) {
  if (std::any_of(logits_W.begin(), logits_W.end(), [](float x) { return std::isnan(x); })) return std::nullopt;
  std::vector<float> logits(logits_W.begin(), logits_W.end());
  const SamplingParams& p = params_;
  if (p.repeat_penalty != 1 || p.presence_penalty != 0 || p.frequency_penalty != 0)
    apply_penalties(logits, tokens, prompt_tokens, p);
  const auto best = std::max_element(logits.begin(), logits.end());  // the first among equals
  if (!std::isfinite(*best)) return std::nullopt;
  if (p.temperature == 0) return static_cast<int32_t>(best - logits.begin());

  std::vector<Candidate> kept(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    kept[i] = {static_cast<int32_t>(i), static_cast<float>(logits[i] / p.temperature)};
  const size_t count = p.top_k > 0 ? std::min<size_t>(static_cast<size_t>(p.top_k), kept.size()) : kept.size();
  if (count < kept.size() || p.top_p < 1 || p.min_p > 0) {
    std::partial_sort(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(count), kept.end(), more_likely);
    kept.resize(count);
    cut_tail(kept, p);
  }

  const double top =
      std::max_element(kept.begin(), kept.end(), [](auto& a, auto& b) { return a.logit < b.logit; })->logit;
  double total = 0;
  for (const Candidate& c : kept) total += std::exp(c.logit - top);
  double left = random_.uniform() * total;
  for (const Candidate& c : kept) {
    left -= std::exp(c.logit - top);
    if (left < 0) return c.token;
  }
  return kept.back().token;
}

}  // namespace cachalot
