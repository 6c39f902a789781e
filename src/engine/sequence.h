// The state of one request inside the engine.
#pragma once

#include "engine/request.h"
#include "engine/sampler.h"

namespace cachalot {

struct Sequence {
  RequestId id = 0;
  Request request;
  Sampler sampler;
  std::vector<int32_t> tokens;                     // the prompt and the answer so far
  std::vector<int32_t> drafts;                     // speculation: guesses of what follows `tokens`
  int cached = 0;                                  // leading tokens whose keys and values are in the cache
  int token_limit = 0;                             // the sequence ends with `length` when it holds this many tokens
  int rope_tokens = 0;                             // declared length, fixed at admission (see BatchSequence)
  std::vector<std::vector<int32_t>> block_tables;  // per cache group; -1 where a window has moved past
  int state_slot = -1;                             // of recurrent states; -1 while it waits

  int prompt_tokens() const { return static_cast<int>(request.prompt.size()); }
  int uncached() const { return static_cast<int>(tokens.size()) - cached; }
};

}  // namespace cachalot
