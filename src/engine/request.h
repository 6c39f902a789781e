// What a caller asks of the engine, and what it hears back. Tokens only: text is the caller's business.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "formats/pooling.h"
#include "ops/batch.h"

namespace cachalot {

// Applied in this order: biases, penalties, temperature, top_k, top_p, min_p (as transformers does).
struct SamplingParams {
  double temperature = 1;  // 0 = the largest logit, the lowest id among equals
  int top_k = 0;           // keep the k most likely; 0 = all
  double top_p = 1;        // keep the fewest most likely whose probabilities sum to at least this
  double min_p = 0;        // keep those at least this fraction as likely as the likeliest
  double repeat_penalty =
      1;  // logits of tokens seen in prompt or answer: divided if positive, multiplied if negative
  double presence_penalty = 0;                        // subtracted once from logits of tokens in the answer
  double frequency_penalty = 0;                       // subtracted once per occurrence in the answer
  std::vector<std::pair<int32_t, float>> logit_bias;  // added to the logits of tokens
  uint64_t seed = 0;                                  // same seed, same request, same text

  struct Range {
    double low, high;
  };
  static constexpr Range kTemperature = {0, 100}, kTopK = {0, 1 << 30}, kTopP = {0, 1}, kMinP = {0, 1},
                         kRepeatPenalty = {1e-3, 1e3}, kPresencePenalty = {-100, 100},
                         kFrequencyPenalty = {-100, 100}, kLogitBias = {-100, 100};

  // Throws Error that names the field when a value is out of its range.
  void check() const;
};

// Natural logarithms of a token's probability; -inf of none.
struct TokenLogprob {
  int32_t token;
  float model;  // among all tokens, by the model's logits as they are
  float kept;   // among those that the choice was drawn from, by biases, penalties and temperature; of a prompt's
                // token, which nobody chose, the same as `model`
};

constexpr int kMostAnswers = 128;         // to one request
constexpr int kMostPromptLogprobs = 128;  // likeliest tokens that a prompt's log-probabilities tell of, each

struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  std::optional<int> max_tokens;    // of the answer; none = what is left of the context; 0: `length` comes at once,
                                    // or after the prompt's log-probabilities
  std::vector<int32_t> end_tokens;  // any of these ends the answer (and is not part of it)
  // Answer i of so many is the one that a request of its own would get with seed + i. The prompt is computed once.
  int answers = 1;
  int logprobs = -1;  // events tell those of the chosen token and of so many likeliest; -1: of none
  // The same for the prompt's tokens, -1: for none. Their rows are computed, also where they are cached, and leave
  // their blocks to others as ever. Answer 0 tells them; when it is cancelled before, nobody does.
  int prompt_logprobs = -1;
  // Instead of an answer: one event has the prompt's embedding, and the end, `stop`. The mean is one of all rows,
  // which are computed for it also where they are cached, and leave their blocks to others as ever.
  std::optional<Pooling> embedding;
  // Of the tokens that may follow the answer so far, bit t % 64 of word t / 64 is set; empty: all may. Valid until
  // the next call. Called for one answer at a time, from any thread.
  std::function<std::span<const uint64_t>(int answer, std::span<const int32_t> so_far)> allowed;
  std::string caller;  // whose it is: callers share the machine equally, whatever each of them asks
  std::string salt;    // what was computed for a prompt serves requests with the same salt alone
  // MLA: the prompt's spans that were generated, an assistant's earlier answers; ascending, disjoint. Rows take the
  // form of attention that they had in the earlier turns (expanded_spans()), so they are the same bits and are found
  // in the cache.
  std::vector<PositionSpan> absorbed;
  std::optional<int> computed_from;  // rows of this position and later ones are computed, also where they are cached
};

// What Event::error says where there is no memory for a request; it fits a std::string itself.
constexpr const char* kOutOfMemory = "out of memory";

enum class FinishReason { stop, length, cancelled, error };
std::string_view name(FinishReason reason);

using RequestId = int64_t;

// One answer's news from one step: a token, or its end, or both; or, of a prompt that is not computed in one step,
// that it has begun.
struct Event {
  RequestId request;
  int answer = 0;  // which of the request's
  std::optional<int32_t> token;
  std::vector<TokenLogprob> logprobs;  // the chosen token's, also of one that ends the answer, then the likeliest's
  std::optional<FinishReason> finished;
  std::optional<int32_t> end_token;  // that of Request::end_tokens which ended the answer
  std::string error;                 // when finished with FinishReason::error
  // Of the prompt's next tokens, in order over all events of answer 0, each token's own first; the prompt's first
  // token has an empty entry.
  std::vector<std::vector<TokenLogprob>> prompt_logprobs;
  std::vector<float> embedding;  // [D], of no particular length; of a request for one
  int drafted = 0;        // speculation: tokens that were guessed for this step's rows, on the step's last event ...
  int accepted = 0;       // ... and how many of them the model chose, too
  int cached_tokens = 0;  // of the prompt, those that were in the cache when it began; the same in all of its events
  double begun = 0;       // when that was, by the engine's clock; 0 of an answer that ends before
};

}  // namespace cachalot
