// GGUF metadata and config.json say the same in other words: from one to the other and back, by the tables of the
// families (gguf_words.h).
#pragma once

#include <span>
#include <string_view>

#include "formats/checkpoint.h"
#include "formats/gguf/file.h"
#include "formats/gguf/writer.h"
#include "model/family.h"

namespace cachalot {

// The configuration of a checkpoint in the words of Hugging Face's config.json, whatever its container. Warns where
// metadata leaves a family to guess, so ask once.
Config model_config(const Checkpoint& checkpoint, Families families = all_families());

// `shards`: the files of one GGUF checkpoint, the first holding the metadata. Facts that metadata leaves to the
// tensors (a tied head, biases, llama's stored RoPE divisors) are taken from their names and bytes. Throws Error on
// missing or contradictory metadata. An architecture of no family gives its name and the sizes that are common to
// all.
Config gguf_config(std::span<const GgufFile> shards, Families families = all_families());

// The family of a checkpoint, whatever its container; nullptr when there is none.
const Family* find_family(const Checkpoint& checkpoint, Families families = all_families());

// What most files of the architecture that name no pre-tokeniser were made with.
std::string_view usual_pre_tokenizer(std::string_view architecture, Families families = all_families());

// GGUF's name for the models of a family. Throws Error that lists the families that can be written; `config` is the
// one to blame.
std::string_view gguf_architecture(const Family& family, const Config& config, Families families = all_families());

// Adds the architecture's keys. `spec` is the config's, with the prediction modules that are going to be written.
// Throws Error for what the keys cannot say: a RoPE that grows with the text, layers that differ otherwise than by
// windows and leading dense ones, biases that the architecture does not know.
void add_gguf_metadata(const Family& family, const Config& config, const ModelSpec& spec, GgufMetadata& out);

}  // namespace cachalot
