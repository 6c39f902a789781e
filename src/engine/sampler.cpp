#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
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

static void check_range(std::string_view name, double value, SamplingParams::Range range) {
  if (!(value >= range.low && value <= range.high))
    throw Error(fmt::format("{} must be between {} and {}, not {}", name, range.low, range.high, value))
        .in("sampling parameters");
}

void SamplingParams::check() const {
  check_range("temperature", temperature, kTemperature);
  check_range("top_k", top_k, kTopK);
  check_range("top_p", top_p, kTopP);
  check_range("min_p", min_p, kMinP);
  check_range("repeat_penalty", repeat_penalty, kRepeatPenalty);
  check_range("presence_penalty", presence_penalty, kPresencePenalty);
  check_range("frequency_penalty", frequency_penalty, kFrequencyPenalty);
  for (const auto& [token, bias] : logit_bias)
    check_range(fmt::format("the bias of token {}", token), bias, kLogitBias);
}

// -- Weights

namespace {

using Candidate = SamplerRoom::Candidate;

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// How weights are counted, for some tokens of which `best` has the largest logit.
class Weighing {
 public:
  Weighing(size_t tokens, float best, double temperature)
      : best_(best), temperature_(temperature), one_(std::ldexp(1.0, 62 - std::bit_width(tokens))) {}

  // The logarithm of the share that the best has of weights that sum to `sum`.
  double logprob_of_best(uint64_t sum) const { return std::log(one_) - std::log(static_cast<double>(sum)); }
  // (logit - best) / temperature: 0 of the best, -inf of what temperatures near zero leave no chance.
  double distance(float logit) const { return (static_cast<double>(logit) - best_) / temperature_; }
  uint64_t weight(double distance) const {
    constexpr double kFar = -44;  // e^-44 of 2^62 is less than a half
    return distance < kFar ? 0 : static_cast<uint64_t>(std::exp(distance) * one_ + 0.5);
  }
  // How much of weights that sum to `total` top_p asks for, in f64: 0.8 of twenty equal ones is sixteen of them.
  static uint64_t share(double top_p, uint64_t total) {
    return std::clamp(static_cast<uint64_t>(std::ceil(top_p * static_cast<double>(total))), uint64_t{1}, total);
  }

 private:
  double best_, temperature_;
  double one_;  // the weight of the best
};

// Less than `of`, for uniform < 1.
uint64_t drawn_from(uint64_t of, double uniform) {
  __extension__ using Product = unsigned __int128;
  return static_cast<uint64_t>((static_cast<Product>(uniform * 0x1p53) * of) >> 53);
}

uint64_t sum(std::span<const Candidate> candidates) {
  return std::accumulate(candidates.begin(), candidates.end(), uint64_t{0},
                         [](uint64_t sum, const Candidate& c) { return sum + c.weight; });
}

// -- Selection

// The token at which weights, added up from the most likely one on, exceed some number.
struct Place {
  int32_t token;
  uint64_t sum;  // of its weight and all before
};

// `target` must be less than the sum of the candidates' weights, of which there are some. Reorders them.
Place place_among(std::span<Candidate> candidates, uint64_t target) {
  constexpr size_t kFewEnoughToSort = 32;
  uint64_t before = 0;
  while (candidates.size() > kFewEnoughToSort) {
    const size_t middle = candidates.size() / 2;
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(middle), candidates.end(),
                     more_likely);
    const uint64_t upper = sum(candidates.first(middle));
    const bool found = target < before + upper;
    candidates = found ? candidates.first(middle) : candidates.subspan(middle);
    if (!found) before += upper;
  }
  std::sort(candidates.begin(), candidates.end(), more_likely);
  auto at = candidates.begin();
  for (; target >= before + at->weight; ++at) before += at->weight;
  return {at->token, before + at->weight};
}

// The tokens that one is drawn from: the most likely ones up to `last` that are `lowest` or nearer.
struct Kept {
  double best = 0, temperature = 1;
  double logprob_of_best = 0;
  double lowest = -std::numeric_limits<double>::infinity();
  Candidate last = {0, -std::numeric_limits<float>::infinity(), std::numeric_limits<int32_t>::max()};

  float logprob(float logit, int32_t token) const {
    const double distance = (static_cast<double>(logit) - best) / temperature;
    const bool in = distance >= lowest && !more_likely(last, {0, logit, token});
    return static_cast<float>(in ? distance + logprob_of_best : -std::numeric_limits<double>::infinity());
  }
};

// All tokens in buckets by their distance from the best, so that only one bucket need be looked at closely.
class Buckets {
 public:
  Buckets(std::span<const float> logits_W, const Weighing& weighing, double lowest, SamplerRoom& room)
      : logits_W_(logits_W), weighing_(weighing), room_(room) {
    room.sums.assign(kBuckets, 0);
    for (const float logit : logits_W) {
      const double distance = weighing.distance(logit);
      const uint64_t weight = weighing.weight(distance);
      room.sums[bucket(distance)] += weight;
      if (distance >= lowest) near_ += weight;
    }
  }

  uint64_t total() const { return std::accumulate(room_.sums.begin(), room_.sums.end(), uint64_t{0}); }
  uint64_t near() const { return near_; }  // the sum of those that are `lowest` or nearer
  Candidate last() const { return Kept().last; }
  float logit(int32_t token) const { return logits_W_[static_cast<size_t>(token)]; }
  Place place(uint64_t target) {
    size_t wanted = 0;
    uint64_t before = 0;
    for (; target >= before + room_.sums[wanted]; ++wanted) before += room_.sums[wanted];
    collect(wanted);
    const Place place = place_among(room_.candidates, target - before);
    return {place.token, before + place.sum};
  }

 private:
  void collect(size_t wanted) {
    if (wanted == collected_) return;
    room_.candidates.clear();
    for (size_t i = 0; i < logits_W_.size(); ++i) {
      const double distance = weighing_.distance(logits_W_[i]);
      if (bucket(distance) == wanted)
        room_.candidates.push_back({weighing_.weight(distance), logits_W_[i], static_cast<int32_t>(i)});
    }
    collected_ = wanted;
  }

  static constexpr size_t kBuckets = 4096;
  static constexpr double kRange = 32;  // farther tokens, which weigh next to nothing, are in the last bucket
  static size_t bucket(double distance) {
    const double place = distance * -(kBuckets / kRange);
    return place < kBuckets - 1 ? static_cast<size_t>(place) : kBuckets - 1;
  }

  const std::span<const float> logits_W_;
  const Weighing& weighing_;
  SamplerRoom& room_;
  uint64_t near_ = 0;
  size_t collected_ = kBuckets;  // the bucket whose tokens are the candidates
};

// The top_k most likely tokens.
class MostLikely {
 public:
  MostLikely(std::span<const float> logits_W, const Weighing& weighing, double lowest, size_t count,
             SamplerRoom& room)
      : logits_W_(logits_W), candidates_(room.candidates) {
    candidates_.resize(logits_W.size());
    for (size_t i = 0; i < logits_W.size(); ++i) candidates_[i] = {0, logits_W[i], static_cast<int32_t>(i)};
    constexpr size_t kFewForAHeap = 1024;
    const auto end = candidates_.begin() + static_cast<ptrdiff_t>(count);
    if (count <= kFewForAHeap)
      std::partial_sort(candidates_.begin(), end, candidates_.end(), more_likely);
    else
      std::nth_element(candidates_.begin(), end, candidates_.end(), more_likely);
    candidates_.erase(end, candidates_.end());
    for (Candidate& c : candidates_) {
      const double distance = weighing.distance(c.logit);
      c.weight = weighing.weight(distance);
      if (distance >= lowest) near_ += c.weight;
    }
  }

  uint64_t total() const { return sum(candidates_); }
  uint64_t near() const { return near_; }
  Candidate last() const { return *std::max_element(candidates_.begin(), candidates_.end(), more_likely); }
  float logit(int32_t token) const { return logits_W_[static_cast<size_t>(token)]; }
  Place place(uint64_t target) { return place_among(candidates_, target); }

 private:
  const std::span<const float> logits_W_;
  std::vector<Candidate>& candidates_;
  uint64_t near_ = 0;
};

// What top_p and min_p leave are the most likely ones, too: a share of the sum is all that need be known of them.
template <typename Tokens>
int32_t draw(Tokens tokens, const Weighing& weighing, const SamplingParams& p, double uniform, Kept& kept) {
  uint64_t left = tokens.near();
  kept.last = tokens.last();
  if (p.top_p < 1) {
    const Place place = tokens.place(Weighing::share(p.top_p, tokens.total()) - 1);
    left = std::min(left, place.sum);
    kept.last = {0, tokens.logit(place.token), place.token};
  }
  kept.logprob_of_best = weighing.logprob_of_best(left);
  return tokens.place(drawn_from(left, uniform)).token;
}

// A token of all; they are passed in the order of their ids.
int32_t draw_from_all(std::span<const float> logits_W, const Weighing& weighing, double uniform,
                      std::vector<uint64_t>& sums, Kept& kept) {
  constexpr size_t kTogether = 1024;
  const auto weight = [&](size_t i) { return weighing.weight(weighing.distance(logits_W[i])); };
  sums.assign(logits_W.size() / kTogether + 1, 0);
  for (size_t i = 0; i < logits_W.size(); ++i) sums[i / kTogether] += weight(i);
  const uint64_t total = std::accumulate(sums.begin(), sums.end(), uint64_t{0});
  kept.logprob_of_best = weighing.logprob_of_best(total);
  uint64_t target = drawn_from(total, uniform);
  size_t together = 0;
  while (target >= sums[together]) target -= sums[together++];
  size_t token = together * kTogether;
  for (uint64_t w; target >= (w = weight(token)); ++token) target -= w;
  return static_cast<int32_t>(token);
}

// Draws a token of the logits, of which `best` is the largest, and says of which it was drawn.
int32_t draw_token(std::span<const float> logits_W, float best, const SamplingParams& p, double uniform,
                   SamplerRoom& room, Kept& kept) {
  const Weighing weighing(logits_W.size(), best, p.temperature);
  const double lowest = p.min_p > 0 ? std::log(p.min_p) : -std::numeric_limits<double>::infinity();
  kept = {.best = best, .temperature = p.temperature, .lowest = lowest};
  if (p.top_k > 0 && static_cast<size_t>(p.top_k) < logits_W.size()) {
    MostLikely tokens(logits_W, weighing, lowest, static_cast<size_t>(p.top_k), room);
    return draw(tokens, weighing, p, uniform, kept);
  }
  if (p.top_p == 1 && p.min_p == 0) return draw_from_all(logits_W, weighing, uniform, room.sums, kept);
  return draw(Buckets(logits_W, weighing, lowest, room), weighing, p, uniform, kept);
}

// ln of the sum of e^logit, in f64.
double log_sum(std::span<const float> logits_W) {
  const double best = *std::max_element(logits_W.begin(), logits_W.end());
  const double sum = std::accumulate(logits_W.begin(), logits_W.end(), 0.0,
                                     [&](double sum, float logit) { return sum + std::exp(logit - best); });
  return best + std::log(sum);
}

// Of `token` and so many likeliest, by the model's logits; what was kept of them is not said yet.
std::vector<TokenLogprob> logprobs(std::span<const float> model_W, int32_t token, int likeliest, SamplerRoom& room) {
  const auto count = std::min(model_W.size(), static_cast<size_t>(likeliest));
  std::vector<Candidate>& candidates = room.candidates;
  candidates.clear();
  if (count > 0) {
    candidates.resize(model_W.size());
    for (size_t i = 0; i < model_W.size(); ++i) candidates[i] = {0, model_W[i], static_cast<int32_t>(i)};
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count), candidates.end(),
                      more_likely);
  }
  const double sum = log_sum(model_W);
  const auto logprob = [&](float logit) { return static_cast<float>(logit - sum); };
  std::vector<TokenLogprob> result;
  result.reserve(1 + count);
  result.push_back({token, logprob(model_W[static_cast<size_t>(token)]), 0});
  for (size_t i = 0; i < count; ++i) result.push_back({candidates[i].token, logprob(candidates[i].logit), 0});
  return result;
}

bool has_nan(std::span<const float> logits_W) {
  return std::any_of(logits_W.begin(), logits_W.end(), [](float x) { return std::isnan(x); });
}

}  // namespace

std::optional<std::vector<TokenLogprob>> model_logprobs(std::span<const float> logits_W, int32_t token, int likeliest,
                                                        SamplerRoom& room) {
  if (has_nan(logits_W) || !std::isfinite(*std::max_element(logits_W.begin(), logits_W.end()))) return std::nullopt;
  auto result = logprobs(logits_W, token, likeliest, room);
  for (TokenLogprob& p : result) p.kept = p.model;
  return result;
}

// -- Sampler

Sampler::Sampler(SamplingParams params, std::span<const int32_t> prompt)
    : params_(std::move(params)), random_(params_.seed) {
  if (params_.repeat_penalty != 1)
    for (const int32_t token : prompt) in_answer_.try_emplace(token, 0);
}

// The logits after biases, penalties and what is not allowed; as they come where there is nothing of that.
std::span<const float> Sampler::adjusted(std::span<const float> logits_W, std::span<const uint64_t> allowed,
                                         std::vector<float>& room) const {
  if (in_answer_.empty() && allowed.empty() && params_.logit_bias.empty()) return logits_W;
  const SamplingParams& p = params_;
  constexpr double most = std::numeric_limits<float>::max();
  room.assign(logits_W.begin(), logits_W.end());
  const auto within = [&](int32_t token) { return token >= 0 && static_cast<size_t>(token) < room.size(); };
  for (const auto& [token, bias] : p.logit_bias)
    if (within(token)) room[static_cast<size_t>(token)] += bias;
  for (const auto& [token, count] : in_answer_) {
    if (!within(token)) continue;
    float& logit = room[static_cast<size_t>(token)];
    if (std::isinf(logit)) continue;
    const double scaled = logit > 0 ? logit / p.repeat_penalty : logit * p.repeat_penalty;
    logit = static_cast<float>(std::clamp(scaled, -most, most));
    if (count > 0) logit -= static_cast<float>(p.presence_penalty + p.frequency_penalty * count);
  }
  if (allowed.empty()) return room;
  CHECK(allowed.size() == (room.size() + 63) / 64, "{} words for {} tokens", allowed.size(), room.size());
  for (size_t i = 0; i < room.size(); ++i)
    if ((allowed[i / 64] >> (i % 64) & 1) == 0) room[i] = -std::numeric_limits<float>::infinity();
  return room;
}

std::optional<Choice> Sampler::choose(std::span<const float> model_W, SamplerRoom& room,
                                      const ChoiceOptions& options) {
  if (has_nan(model_W)) return std::nullopt;
  const auto logits_W = adjusted(model_W, options.allowed, room.logits_W);
  const auto best = std::max_element(logits_W.begin(), logits_W.end());  // the first among equals
  if (best == logits_W.end() || !std::isfinite(*best)) return std::nullopt;

  auto token = static_cast<int32_t>(best - logits_W.begin());
  Kept kept{.best = *best, .last = {0, *best, token}};  // the best alone
  if (params_.temperature > 0) token = draw_token(logits_W, *best, params_, random_.uniform(), room, kept);
  Choice choice{.token = token, .logprobs = {}};
  if (options.likeliest < 0) return choice;
  choice.logprobs = logprobs(model_W, token, options.likeliest, room);
  for (TokenLogprob& p : choice.logprobs) p.kept = kept.logprob(logits_W[static_cast<size_t>(p.token)], p.token);
  return choice;
}

std::optional<int32_t> Sampler::sample(std::span<const float> logits_W, SamplerRoom& room) {
  const auto choice = choose(logits_W, room, {});
  if (!choice) return std::nullopt;
  return choice->token;
}

}  // namespace cachalot
