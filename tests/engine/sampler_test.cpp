#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace cachalot {

static const std::vector<float> kLogits = {0.0f, 2.0f, 1.0f, -1.0f, 1.9f};

// How often each token is drawn out of `draws`.
static std::vector<int> histogram(SamplingParams params, const std::vector<float>& logits, int draws) {
  Sampler sampler(params);
  SamplerRoom room;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts[static_cast<size_t>(sampler.sample(logits, room).value())];
  return counts;
}

// What is chosen after a prompt and an answer.
static std::optional<int32_t> choice(SamplingParams params, const std::vector<float>& logits,
                                     const std::vector<int32_t>& prompt = {},
                                     const std::vector<int32_t>& answer = {}) {
  Sampler sampler(params, prompt);
  for (const int32_t token : answer) sampler.add(token);
  SamplerRoom room;
  return sampler.sample(logits, room);
}

TEST(Sampler, TemperatureZeroTakesTheLargestAndTheLowestIdAmongEquals) {
  EXPECT_EQ(choice({.temperature = 0}, kLogits), 1);
  EXPECT_EQ(choice({.temperature = 0}, {3, 5, 5, 5}), 1);
}

TEST(Sampler, TemperaturesNearZeroComeToTheSame) {
  constexpr float most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> some = {
      kLogits, {-1, -3, -2}, {0, 1e-30f, 0}, {most, -most, most / 2}, {-infinity, -5, -infinity}, {-most, -infinity}};
  for (const auto& logits : some)
    for (const double temperature : {1e-38, 1e-45, 1e-200, 5e-324})
      for (const SamplingParams& p : {SamplingParams{},
                                      {.top_k = 2},
                                      {.top_p = 0.999},
                                      {.min_p = 0.1},
                                      {.min_p = 1},
                                      {.top_k = 2, .top_p = 0.5, .min_p = 1e-300}}) {
        SamplingParams params = p;
        params.temperature = temperature;
        EXPECT_EQ(choice(params, logits), choice({.temperature = 0}, logits)) << temperature;
      }
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
  const SamplingParams repeat{.temperature = 0, .repeat_penalty = 1.1}, twice{.temperature = 0, .repeat_penalty = 2};
  EXPECT_EQ(choice(repeat, kLogits, {1}), 4) << "2.0 / 1.1 < 1.9, and the prompt counts";
  EXPECT_EQ(choice(repeat, kLogits, {}, {1}), 4);
  EXPECT_EQ(choice(twice, {-1.0f, -1.5f}, {0}), 1) << "-1 * 2 < -1.5";
  const SamplingParams presence{.temperature = 0, .presence_penalty = 0.2};
  EXPECT_EQ(choice(presence, kLogits, {1}), 1) << "the prompt does not count";
  EXPECT_EQ(choice(presence, kLogits, {0}, {1}), 4);
  const SamplingParams frequency{.temperature = 0, .frequency_penalty = 0.06};
  EXPECT_EQ(choice(frequency, kLogits, {}, {1}), 1);
  EXPECT_EQ(choice(frequency, kLogits, {1}, {1, 1}), 4);
  EXPECT_EQ(choice(repeat, kLogits, {-1, 1000}, {70000}), 1) << "ids that the vocabulary does not have";
}

TEST(Sampler, PenaltiesKeepInfinitiesAndMakeNone) {
  constexpr float most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<float>::infinity();
  const SamplingParams p{.temperature = 0, .repeat_penalty = 1e-3, .presence_penalty = -100};
  EXPECT_EQ(choice(p, {most, 0}, {}, {0}), 0);
  EXPECT_EQ(choice(p, {-infinity, -1}, {}, {0}), 1);
}

TEST(Sampler, TheSameSeedDrawsTheSameTokens) {
  EXPECT_EQ(histogram({.seed = 3}, kLogits, 100), histogram({.seed = 3}, kLogits, 100));
  Sampler a({.seed = 1}), b({.seed = 2});
  SamplerRoom room;
  bool differ = false;
  for (int i = 0; i < 50; ++i) differ = differ || a.sample(kLogits, room) != b.sample(kLogits, room);
  EXPECT_TRUE(differ);
}

TEST(Sampler, NotANumberIsNoToken) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const SamplingParams& p :
       {SamplingParams{.temperature = 0}, {}, {.top_k = 1}, {.top_p = 0.5}, {.min_p = 0.5}}) {
    EXPECT_EQ(choice(p, {1, nan, 0}), std::nullopt);
    EXPECT_EQ(choice(p, {-infinity, -infinity}), std::nullopt);
    EXPECT_EQ(choice(p, {1, infinity}), std::nullopt);
    EXPECT_EQ(choice(p, {-infinity, 1, -infinity}), 1);
    EXPECT_EQ(choice(p, {}), std::nullopt);
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
