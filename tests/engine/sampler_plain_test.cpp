// The plain definition of sampling, and that the sampler, which sorts nothing, chooses the same tokens for the same
// seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>

#include "engine/sampler.h"

namespace cachalot {

namespace {

struct Plain {
  SamplingParams p;
  Random random{p.seed};
  std::map<int32_t, double> kept_logprobs = {};  // of the last draw: what it was drawn from

  static bool more_likely(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  }

  std::vector<float> penalised(std::vector<float> logits, const std::vector<int32_t>& prompt,
                               const std::vector<int32_t>& answer) const {
    std::map<int32_t, int> in_answer;
    for (const int32_t token : prompt) in_answer[token] += 0;
    for (const int32_t token : answer) ++in_answer[token];
    for (const auto& [token, count] : in_answer) {
      float& logit = logits.at(static_cast<size_t>(token));
      logit = static_cast<float>(logit > 0 ? logit / p.repeat_penalty : logit * p.repeat_penalty);
      if (count > 0) logit -= static_cast<float>(p.presence_penalty + p.frequency_penalty * count);
    }
    return logits;
  }

  int32_t sample(std::vector<float> logits, const std::vector<int32_t>& prompt, const std::vector<int32_t>& answer) {
    logits = penalised(std::move(logits), prompt, answer);
    const double top = *std::max_element(logits.begin(), logits.end());
    std::vector<std::pair<float, int32_t>> kept;
    for (size_t i = 0; i < logits.size(); ++i) kept.emplace_back(logits[i], static_cast<int32_t>(i));
    const auto weight = [&](const auto& candidate) { return std::exp((candidate.first - top) / p.temperature); };
    const auto sum_of_all = [&] {
      return std::accumulate(kept.begin(), kept.end(), 0.0, [&](double sum, auto& c) { return sum + weight(c); });
    };
    const bool few = p.top_k > 0 && static_cast<size_t>(p.top_k) < kept.size();
    if (few || p.top_p < 1 || p.min_p > 0) std::sort(kept.begin(), kept.end(), more_likely);
    if (few) kept.resize(static_cast<size_t>(p.top_k));
    if (p.top_p < 1) {
      const double wanted = p.top_p * sum_of_all();
      double sum = 0;
      size_t count = 0;
      while (count < kept.size() && (count == 0 || sum < wanted)) sum += weight(kept[count++]);
      kept.resize(count);
    }
    if (p.min_p > 0)
      while (kept.size() > 1 && weight(kept.back()) < p.min_p) kept.pop_back();
    const double sum = sum_of_all();
    kept_logprobs.clear();
    for (const auto& candidate : kept)
      kept_logprobs[candidate.second] = (candidate.first - top) / p.temperature - std::log(sum);
    double left = random.uniform() * sum;
    for (const auto& candidate : kept)
      if ((left -= weight(candidate)) < 0) return candidate.second;
    return kept.back().second;
  }
};

// Logits of one of several shapes.
std::vector<float> random_logits(Random& random) {
  const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
  const int tokens = below(4) ? 1 + below(3000) : 1 + below(40);
  const double spread = std::exp2(below(12) - 4);
  const int kind = below(6);
  std::vector<float> logits(static_cast<size_t>(tokens));
  for (float& logit : logits) {
    double x = spread * random.normal();
    if (kind == 0) x = 1.5;                // flat
    if (kind == 1) x = below(4) * spread;  // ties
    if (kind == 2) x *= 1e4;               // far apart
    if (kind == 3 && below(3) > 0) x = -std::numeric_limits<float>::infinity();
    if (kind == 4 && below(100) == 0) x += 20;  // a few stand out
    logit = static_cast<float>(x);
  }
  if (kind == 3) logits[static_cast<size_t>(below(tokens))] = 0.5;
  return logits;
}

SamplingParams random_params(Random& random) {
  const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
  SamplingParams p{.seed = random.next()};
  const double temperatures[] = {1, 1, 0.6, 0.7, 1.7, 30, 1e-3, 1e-30, 1e-310};
  const double top_ps[] = {0, 1e-9, 0.1, 0.5, 0.8, 0.95, 0.999, 1 - 1e-9};
  const double min_ps[] = {1e-12, 1e-3, 0.05, 0.5, 1};
  p.temperature = temperatures[below(9)];
  if (below(2)) p.top_k = below(3) ? 1 + below(60) : 1 + below(4000);
  if (below(3)) p.top_p = below(2) ? top_ps[below(8)] : random.uniform();
  if (below(3) == 0) p.min_p = min_ps[below(5)];
  if (below(3) == 0) p.repeat_penalty = 0.8 + random.uniform();
  if (below(4) == 0) p.presence_penalty = random.normal();
  if (below(4) == 0) p.frequency_penalty = random.normal();
  return p;
}

}  // namespace

TEST(SamplerPlain, TheSamplerChoosesWhatThePlainDefinitionChooses) {
  Random random(11);
  SamplerRoom room;
  int different = 0;  // tokens that follow each other, to see that something is drawn at all
  for (int i = 0; i < 3000; ++i) {
    const auto logits = random_logits(random);
    const SamplingParams p = random_params(random);
    const auto some_tokens = [&] {
      std::vector<int32_t> tokens(random.next() % 20);
      for (int32_t& token : tokens) token = static_cast<int32_t>(random.next() % logits.size());
      return tokens;
    };
    const auto prompt = some_tokens();
    auto answer = some_tokens();
    Plain plain{p};
    Sampler sampler(p, prompt);
    for (const int32_t token : answer) sampler.add(token);
    for (int draw = 0; draw < 4; ++draw) {
      const int32_t want = plain.sample(logits, prompt, answer);
      ASSERT_EQ(sampler.sample(logits, room), want)
          << "case " << i << ": " << logits.size() << " tokens, temperature " << p.temperature << ", top_k "
          << p.top_k << ", top_p " << p.top_p << ", min_p " << p.min_p;
      different += draw > 0 && want != answer.back();
      answer.push_back(want);
      sampler.add(want);
    }
  }
  EXPECT_GT(different, 1500);
}

TEST(SamplerPlain, AMaskAndBiasesAreLogitsThatAreOther) {
  Random random(12);
  SamplerRoom room;
  int drawn = 0;
  for (int i = 0; i < 1500; ++i) {
    auto logits = random_logits(random);
    SamplingParams p = random_params(random);
    std::vector<uint64_t> allowed((logits.size() + 63) / 64);
    for (uint64_t& word : allowed) word = random.next() & random.next();
    auto as_if = logits;
    for (int k = 0; k < 3; ++k) {
      const auto token = static_cast<int32_t>(random.next() % logits.size());
      p.logit_bias.emplace_back(token, static_cast<float>(random.normal()));
      as_if[static_cast<size_t>(token)] += p.logit_bias.back().second;
    }
    for (size_t t = 0; t < as_if.size(); ++t)
      if ((allowed[t / 64] >> (t % 64) & 1) == 0) as_if[t] = -std::numeric_limits<float>::infinity();
    Plain plain{p};
    Sampler sampler(p);
    const auto got = sampler.choose(logits, room, {.allowed = allowed});
    if (*std::max_element(as_if.begin(), as_if.end()) == -std::numeric_limits<float>::infinity()) {
      EXPECT_FALSE(got.has_value());
      continue;
    }
    ASSERT_TRUE(got.has_value());
    ASSERT_EQ(got->token, plain.sample(as_if, {}, {})) << "case " << i;
    ++drawn;
  }
  EXPECT_GT(drawn, 1000);
}

TEST(SamplerPlain, LogprobsAreThoseOfTheModelAndOfWhatWasDrawnFrom) {
  Random random(13);
  SamplerRoom room;
  int left_out = 0, likely = 0;
  for (int i = 0; i < 1500; ++i) {
    const auto logits = random_logits(random);
    SamplingParams p = random_params(random);
    if (p.temperature < 1e-2) p.temperature = 0.7;
    const std::vector<int32_t> prompt = {static_cast<int32_t>(random.next() % logits.size())};
    Plain plain{p};
    Sampler sampler(p, prompt);
    const int likeliest = static_cast<int>(random.next() % 6);
    const auto got = sampler.choose(logits, room, {.likeliest = likeliest});
    ASSERT_TRUE(got.has_value());
    ASSERT_EQ(got->token, plain.sample(logits, prompt, {}));
    ASSERT_EQ(got->logprobs.size(), 1 + std::min(logits.size(), static_cast<size_t>(likeliest)));
    EXPECT_EQ(got->logprobs[0].token, got->token);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - logits[0]);
    auto sorted = logits;
    std::sort(sorted.begin(), sorted.end(), std::greater());
    for (size_t k = 0; k < got->logprobs.size(); ++k) {
      const auto [token, model, kept] = got->logprobs[k];
      const double logit = logits[static_cast<size_t>(token)];
      if (k > 0) { EXPECT_EQ(logit, sorted[k - 1]); }
      if (std::isfinite(sum) && sum > 0 && std::isfinite(logit)) {
        EXPECT_NEAR(model, logit - logits[0] - std::log(sum), 1e-5 * (1 + std::abs(logit)));
      }
      const auto in = plain.kept_logprobs.find(token);
      if (in == plain.kept_logprobs.end()) {
        EXPECT_EQ(kept, -std::numeric_limits<float>::infinity()) << "case " << i;
        ++left_out;
      } else if (in->second > -30) {  // farther ones weigh less than the sampler's unit
        EXPECT_NEAR(kept, in->second, 1e-4) << "case " << i;
        ++likely;
      }
    }
  }
  EXPECT_GT(left_out, 300);
  EXPECT_GT(likely, 1000);
}

TEST(SamplerPlain, TheSameInAVocabularyOfRealSize) {
  SamplerRoom room;
  for (const double spread : {0.0, 0.5, 3.0})
    for (const double top_p : {0.8, 0.95, 0.999}) {
      const auto logits = random_normal(152'064, 5, spread);
      const SamplingParams p{.temperature = 0.6, .top_p = top_p, .seed = 17};
      Plain plain{p};
      Sampler sampler(p);
      for (int draw = 0; draw < 3; ++draw) EXPECT_EQ(sampler.sample(logits, room), plain.sample(logits, {}, {}));
    }
}

}  // namespace cachalot
