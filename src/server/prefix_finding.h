// How much of a prompt the cache had, and why not more: for logs and for who wonders what a request cost.
#pragma once

#include <string>

namespace cachalot {

struct PrefixFinding {
  enum class Why {
    all,         // all rows were found that can be: the last one is always computed
    fresh,       // nothing asked before began so
    short_,      // what it shares with an earlier text is shorter than what is found at once (recurrent layers)
    differs,     // all rows were found up to where it leaves the text that it has most in common with
    unfinished,  // that text's rows had not all been computed: they were meanwhile, or it was cancelled
    evicted,     // the room of that text's blocks has been needed since
    other_rows,  // that text's rows have other bits: RoPE by length, or latent attention's form
                 // (docs/architecture.md)
    asked        // log-probabilities of the prompt want its rows computed, or the request does
  };
  Why why = Why::fresh;
  int prompt_tokens = 0;
  int cached_tokens = 0;  // found
  int common_tokens = 0;  // that it begins with as the text does which it has most in common with
};

// "192 of 200 prompt tokens were cached; ..." without a full stop.
std::string sentence(const PrefixFinding& finding);

}  // namespace cachalot
