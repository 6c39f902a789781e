// Fill in the middle: what stands before the cursor, what stands behind it, and the tokens that tell a model of code
// which is which.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"

namespace cachalot {

// Those that the file states, or else those whose texts are known; none: the vocabulary has no such tokens.
std::optional<InfillTokens> infill_tokens(const Tokenizer& tokenizer);
// Tokens that end what was filled in: those of the parts, and what models were taught to put between files.
std::vector<int> infill_ends(const Tokenizer& tokenizer, const InfillTokens& tokens);

// <prefix> prefix <suffix> suffix <middle>, with BOS where the checkpoint asks for it. Both texts are plain: nothing
// in them is a special token.
std::vector<int> encode_infill(const Tokenizer& tokenizer, const InfillTokens& tokens, std::string_view prefix,
                               std::string_view suffix);

}  // namespace cachalot
