// Log-probabilities in the API's two shapes. They are natural logarithms, among all tokens and by the model's logits
// as they are; what is less likely than JSON can say is -9999.
#pragma once

#include <string>
#include <vector>

#include "server/dialect/json.h"
#include "session/reply.h"

namespace cachalot::dialect {

// Chat: an entry for one token. `logprobs` is not empty.
Json chat_logprob(const Tokenizer& tokenizer, const std::vector<TokenLogprob>& logprobs);

// Completions: lists of tokens, each with where it begins in the text of its choice, counted in code points.
class CompletionLogprobs {
 public:
  // `logprobs` is empty where nothing is known: for the first token of a prompt.
  void add(const Tokenizer& tokenizer, int32_t token, const std::vector<TokenLogprob>& logprobs, size_t offset);
  bool empty() const { return tokens_.empty(); }
  // The object, which is then empty again.
  Json take();

 private:
  Json tokens_ = Json::array(), token_logprobs_ = Json::array(), top_logprobs_ = Json::array(),
       text_offset_ = Json::array();
};

}  // namespace cachalot::dialect
