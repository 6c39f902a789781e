// GGUF metadata in the words of Hugging Face's config.json, so that a family reads one vocabulary.
#pragma once

#include <span>

#include "formats/config.h"
#include "formats/gguf/file.h"

namespace cachalot {

// `shards`: the files of one checkpoint, the first holding the metadata. Facts that metadata leaves to the tensors (a
// tied head, biases, llama's stored RoPE divisors) are taken from their names and bytes. Throws Error on missing or
// contradictory metadata. An architecture without a translation gives its name and the sizes that are common to all.
Config gguf_config(std::span<const GgufFile> shards);

}  // namespace cachalot
