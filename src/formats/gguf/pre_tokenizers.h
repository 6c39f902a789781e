// The pre-tokenisers that GGUF files know by name alone (tokenizer.ggml.pre).
#pragma once

#include <string>
#include <string_view>

#include "text/vocab.h"

namespace cachalot {

// Sets what the name implies: steps, normal form, ignore_merges and whether BOS is added unless the file says
// otherwise. False when the name is not known, and then nothing is set.
bool set_pre_tokenizer(std::string_view name, Vocabulary& vocabulary);

// What files that name none are taken to mean, unless their architecture says otherwise.
inline constexpr std::string_view kUsualPreTokenizer = "gpt-2";

// All names, separated by commas, for messages.
std::string known_pre_tokenizers();

// The name that a file with such a vocabulary is written with. Throws Error when none says it; warns when a name
// says all but the normal form.
std::string_view name_of_pre_tokenizer(const Vocabulary& vocabulary);

}  // namespace cachalot
