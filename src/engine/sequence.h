// The state of one answer inside the engine.
#pragma once

#include <list>
#include <memory>

#include "engine/cache.h"
#include "engine/draft_rule.h"
#include "engine/pool.h"
#include "engine/request.h"
#include "engine/sampler.h"

namespace cachalot {

struct CallerAccount;
struct Sequence;
using SequenceList = std::list<std::unique_ptr<Sequence>>;

struct Sequence {
  RequestId id = 0;
  int answer = 0;   // which of the request's
  Request request;  // but its prompt, which is in `tokens`
  Sampler sampler;
  std::vector<int32_t> tokens;         // the prompt and the answer so far
  std::vector<int32_t> drafts;         // speculation: guesses of what follows `tokens`
  int prompt_tokens = 0;               // the first ones of `tokens`
  int cached = 0;                      // leading tokens whose rows are in the cache
  int computed = 0;                    // the most that `cached` has been: what is below was computed before
  int cached_tokens = 0;               // of the prompt, those that were in the cache when the sequence began
  double begun = 0;                    // when that was; 0: not yet
  bool heard_of = false;               // news of it were made
  int told = 0;                        // leading tokens of the prompt whose log-probabilities have been told
  std::optional<Pool> pool;            // of a request for an embedding
  DraftPause draft_pause;              // after drafts that were refused
  int token_limit = 0;                 // the sequence ends with `length` when it holds this many tokens
  int rope_tokens = 0;                 // declared length, fixed at submission (see BatchSequence)
  std::vector<PositionSpan> expanded;  // MLA's form, too
  CacheHold hold;                      // of the cache
  std::vector<BlockKey> keys = std::vector<BlockKey>(1);  // a root, then those of full blocks, as far as needed
  CallerAccount* account = nullptr;                       // the queue's, where the caller's rows are counted
  SequenceList siblings;  // other answers to the prompt, which begin when it has been computed

  int uncached() const { return static_cast<int>(tokens.size()) - cached; }
  // Whether log-probabilities of the prompt are still to be told: first of the token after row `told` - 1.
  bool tells_prompt() const { return request.prompt_logprobs >= 0 && told < prompt_tokens; }
};

}  // namespace cachalot
