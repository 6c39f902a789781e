// Which tokens end an answer of a model from a GGUF file. Files name up to three by id (eos, eot, eom), and often not
// the one that ends a turn; so tokens are known by their text too, as in llama.cpp.
#pragma once

#include <string_view>
#include <vector>

#include "formats/gguf/file.h"
#include "text/tokenizer/tokenizer.h"

namespace cachalot {

// Whether a special token of this text ends an answer.
bool is_end_text(std::string_view text);

// All ends, by id and by text, none twice. Says on stderr when the end of a turn is known by its text alone, and
// warns when there is no end at all.
std::vector<int> gguf_end_tokens(const GgufFile& file, const Tokenizer& tokenizer);

}  // namespace cachalot
