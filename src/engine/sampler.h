// Chooses the next token of one request from its logits. Holds the request's random state and what its penalties
// count; touches no tensor.
//
// A distribution is whole numbers: a token's weight is exp((logit - best) / temperature) in units of 2^-u, rounded,
// with u as large as 64 bits allow for the sum of all (44 for a vocabulary of 152,064). Sums of weights are exact in
// any order, so tokens may be chosen by selection, in time proportional to the vocabulary, and are the same, seed for
// seed, as by the plain definition: sort, add up, cut, draw (tests/engine/sampler_plain_test.cpp).
#pragma once

#include <span>
#include <unordered_map>

#include "base/random.h"
#include "engine/request.h"

namespace cachalot {

// Room to work in. Samplers of one thread share it.
struct SamplerRoom {
  struct Candidate {
    uint64_t weight;
    float logit;
    int32_t token;
  };
  static constexpr int kBytesPerToken = sizeof(Candidate) + sizeof(float);  // of the vocabulary, at most

  std::vector<float> logits_W;  // after biases, penalties and what is not allowed
  std::vector<Candidate> candidates;
  std::vector<uint64_t> sums;
};

struct Choice {
  int32_t token;
  std::vector<TokenLogprob> logprobs;  // this token's, then those of the likeliest ones by the model's logits
};

struct ChoiceOptions {
  // Bit t % 64 of word t / 64 says whether token t may be chosen, for all tokens; empty: all may.
  std::span<const uint64_t> allowed;
  int likeliest = -1;  // how many of them logprobs are given for; -1: for none, nor for the choice
};

// Log-probabilities by a model's logits: of `token`, then of so many likeliest ones. None when the logits hold NaN or
// no finite number.
std::optional<std::vector<TokenLogprob>> model_logprobs(std::span<const float> logits_W, int32_t token, int likeliest,
                                                        SamplerRoom& room);

class Sampler {
 public:
  explicit Sampler(SamplingParams params = {}, std::span<const int32_t> prompt = {});

  // none when the logits hold NaN, or no finite number where a token may be chosen: the caller ends the request with
  // an error.
  std::optional<Choice> choose(std::span<const float> logits_W, SamplerRoom& room, const ChoiceOptions& options);
  // The same without all that may be asked besides.
  std::optional<int32_t> sample(std::span<const float> logits_W, SamplerRoom& room);
  // The answer has this token now: penalties count it.
  void add(int32_t token) {
    if (penalises()) ++in_answer_[token];
  }

 private:
  bool penalises() const {
    return params_.repeat_penalty != 1 || params_.presence_penalty != 0 || params_.frequency_penalty != 0;
  }
  std::span<const float> adjusted(std::span<const float> logits_W, std::span<const uint64_t> allowed,
                                  std::vector<float>& room) const;

  SamplingParams params_;
  Random random_;
  std::unordered_map<int32_t, int> in_answer_;  // how often the answer has a token; 0: the prompt alone has it
};

}  // namespace cachalot
