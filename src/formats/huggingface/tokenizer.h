// Reads tokenizer.json and tokenizer_config.json, as Hugging Face's libraries write them, into a Vocabulary.
// Byte-level BPE only; every component of another type is refused by its name. All input is hostile: counts, ids and
// depth are bounded before anything is allocated for them.
#pragma once

#include <filesystem>
#include <string_view>

#include "text/vocab.h"

namespace cachalot {

// `folder` holds tokenizer.json and, usually, tokenizer_config.json; or, in Qwen 1's checkpoints, qwen.tiktoken
// (tiktoken.h), which counts when there is no tokenizer.json. Throws Error.
Vocabulary read_hf_vocabulary(const std::filesystem::path& folder);

// The same from the files' texts; the second may be empty. `where` names the source in errors. BOS and EOS are added
// when tokenizer_config.json says so (add_bos_token, add_eos_token), or else when the post-processor does; which
// tokens, the post-processor says where it adds one (Qwen3-Embedding's is not the EOS that ends an answer).
Vocabulary parse_hf_vocabulary(std::string_view tokenizer_json, std::string_view tokenizer_config_json,
                               std::string_view where);

}  // namespace cachalot
