// Reads the tokenizer that a GGUF file carries (tokenizer.ggml.*) into a Vocabulary. Byte-level BPE only (model
// "gpt2"). The file names its pre-tokeniser instead of spelling it, and says nothing of normal form C or of
// stripping; these come from a table of the known names.
#pragma once

#include "formats/gguf.h"
#include "text/vocab.h"

namespace cachalot {

// Warns when the file names no pre-tokeniser: GPT-2's is taken then. Throws Error.
Vocabulary read_gguf_vocabulary(const GgufFile& file);

}  // namespace cachalot
