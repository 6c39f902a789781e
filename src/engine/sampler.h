// Chooses the next token of one request from its logits. Holds the request's random state; touches no tensor.
#pragma once

#include <span>

#include "base/random.h"
#include "engine/request.h"

namespace cachalot {

class Sampler {
 public:
  explicit Sampler(SamplingParams params = {}) : params_(params), random_(params.seed) {}

  // `tokens` are prompt and answer so far, of which the first `prompt_tokens` are the prompt. none when the logits
  // hold NaN or no finite number: the caller ends the request with an error.
  std::optional<int32_t> sample(std::span<const float> logits_W, std::span<const int32_t> tokens, int prompt_tokens);

 private:
  SamplingParams params_;
  Random random_;
};

}  // namespace cachalot
