// Reads the tokenizer that a GGUF file carries (tokenizer.ggml.*) into a Vocabulary. Byte-level BPE only (model
// "gpt2"). The file names its pre-tokeniser instead of spelling it, and says nothing of normal form C or of
// stripping; these come from a table of the known names (gguf_pre_tokenizers.h). Writes one too, as far as GGUF has
// words for it.
#pragma once

#include <optional>
#include <string_view>

#include "formats/gguf/file.h"
#include "formats/gguf/pre_tokenizers.h"
#include "formats/gguf/writer.h"
#include "text/vocab.h"

namespace cachalot {

// The token that `tokenizer.ggml.{name}` names. None when the key is absent or holds a number without a token: -1,
// 2^32 - 1 and others beyond the vocabulary are how converters write "none".
std::optional<int> gguf_token_id(const GgufFile& file, std::string_view name);

// Warns when the file names no pre-tokeniser: `usual`, that of its architecture, is taken then. Throws Error.
Vocabulary read_gguf_vocabulary(const GgufFile& file, std::string_view usual = kUsualPreTokenizer);

// The keys that read_gguf_vocabulary() reads. `rows`: of the embedding; ids without a token become unused ones. Warns
// of what the format cannot say (stripping around added tokens). Throws Error for a vocabulary without merges and for
// a pre-tokeniser that has no name in GGUF.
void write_gguf_vocabulary(const Vocabulary& vocabulary, int64_t rows, GgufMetadata& out);

}  // namespace cachalot
