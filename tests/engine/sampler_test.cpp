#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace cachalot {

static const std::vector<float> kLogits = {0.0f, 2.0f, 1.0f, -1.0f, 1.9f};

// How often each token is drawn out of `draws`.
static std::vector<int> histogram(SamplingParams params, const std::vector<float>& logits, int draws,
                                  const std::vector<int32_t>& tokens = {}, int prompt_tokens = 0) {
  Sampler sampler(params);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    ++counts[static_cast<size_t>(sampler.sample(logits, tokens, prompt_tokens).value())];
  return counts;
}

TEST(Sampler, TemperatureZeroTakesTheLargestAndTheLowestIdAmongEquals) {
  Sampler greedy({.temperature = 0});
  EXPECT_EQ(greedy.sample(kLogits, {}, 0), 1);
  EXPECT_EQ(greedy.sample(std::vector<float>{3, 5, 5, 5}, {}, 0), 1);
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheSoftmax) {
  const int draws = 40000;
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const auto counts = histogram({.temperature = temperature, .seed = 7}, kLogits, draws);
    double total = 0;
    for (const float logit : kLogits) total += std::exp(logit / temperature);
    for (size_t i = 0; i < kLogits.size(); ++i) {
      const double p = std::exp(kLogits[i] / temperature) / total;
      EXPECT_NEAR(counts[i], draws * p, 5 * std::sqrt(draws * p * (1 - p)) + 1) << "token " << i;
    }
  }
}

TEST(Sampler, TopKTopPAndMinPCutTheTail) {
  EXPECT_EQ(histogram({.top_k = 1}, kLogits, 50), (std::vector<int>{0, 50, 0, 0, 0}));
  auto counts = histogram({.top_k = 2}, kLogits, 500);
  EXPECT_EQ(counts[0] + counts[2] + counts[3], 0);
  EXPECT_GT(counts[4], 0);
  // Probabilities: 0.06, 0.41, 0.15, 0.02, 0.37. The first two sum to 0.78.
  counts = histogram({.top_p = 0.7}, kLogits, 500);
  EXPECT_EQ(counts[0] + counts[2] + counts[3], 0);
  counts = histogram({.top_p = 0.8}, kLogits, 500);
  EXPECT_GT(counts[2], 0);
  EXPECT_EQ(counts[0] + counts[3], 0);
  counts = histogram({.min_p = 0.5}, kLogits, 500);
  EXPECT_EQ(counts[0] + counts[2] + counts[3], 0);
  EXPECT_EQ(histogram({.top_p = 0}, kLogits, 20)[1], 20) << "the likeliest always stays";
}

TEST(Sampler, PenaltiesFollowTheirDefinitions) {
  Sampler greedy({.temperature = 0, .repeat_penalty = 1.1});
  EXPECT_EQ(greedy.sample(kLogits, std::vector<int32_t>{1}, 1), 4) << "2.0 / 1.1 < 1.9, and the prompt counts";
  Sampler presence({.temperature = 0, .presence_penalty = 0.2});
  EXPECT_EQ(presence.sample(kLogits, std::vector<int32_t>{1}, 1), 1) << "the prompt does not count";
  EXPECT_EQ(presence.sample(kLogits, std::vector<int32_t>{0, 1}, 1), 4);
  Sampler frequency({.temperature = 0, .frequency_penalty = 0.06});
  EXPECT_EQ(frequency.sample(kLogits, std::vector<int32_t>{1}, 0), 1);
  EXPECT_EQ(frequency.sample(kLogits, std::vector<int32_t>{1, 1}, 0), 4);
  Sampler negative({.temperature = 0, .repeat_penalty = 2});
  EXPECT_EQ(negative.sample(std::vector<float>{-1.0f, -1.5f}, std::vector<int32_t>{0}, 1), 1) << "-1 * 2 < -1.5";
}

TEST(Sampler, TheSameSeedDrawsTheSameTokens) {
  EXPECT_EQ(histogram({.seed = 3}, kLogits, 100), histogram({.seed = 3}, kLogits, 100));
  Sampler a({.seed = 1}), b({.seed = 2});
  bool differ = false;
  for (int i = 0; i < 50; ++i) differ = differ || a.sample(kLogits, {}, 0) != b.sample(kLogits, {}, 0);
  EXPECT_TRUE(differ);
}

TEST(Sampler, NotANumberIsNoToken) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature});
    EXPECT_EQ(sampler.sample(std::vector<float>{1, nan, 0}, {}, 0), std::nullopt);
    EXPECT_EQ(sampler.sample(std::vector<float>{-infinity, -infinity}, {}, 0), std::nullopt);
    EXPECT_EQ(sampler.sample(std::vector<float>{1, infinity}, {}, 0), std::nullopt);
    EXPECT_EQ(sampler.sample(std::vector<float>{-infinity, 1, -infinity}, {}, 0), 1);
  }
}

TEST(Sampler, ParametersOutOfRangeAreNamed) {
  const auto message = [](SamplingParams params) -> std::string {
    try {
      params.check();
    } catch (const Error& e) { return e.what(); }
    return "";
  };
  EXPECT_EQ(message({}), "");
  EXPECT_NE(message({.temperature = -1}).find("temperature"), std::string::npos);
  EXPECT_NE(message({.temperature = std::nan("")}).find("temperature"), std::string::npos);
  EXPECT_NE(message({.top_p = 1.5}).find("top_p"), std::string::npos);
  EXPECT_NE(message({.repeat_penalty = 0}).find("repeat_penalty"), std::string::npos);
}

}  // namespace cachalot
