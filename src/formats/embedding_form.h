// What a checkpoint says of the embeddings that are made with it: modules.json and 1_Pooling/config.json, as
// sentence-transformers writes them beside config.json, or GGUF's pooling_type. The prompts that
// config_sentence_transformers.json may list stand before texts of some kinds; whoever embeds writes them, nobody
// here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "formats/pooling.h"

namespace cachalot {

struct EmbeddingForm {
  Pooling pooling = Pooling::last;  // the one row that has seen all of a text
  bool normalized = true;           // to length 1
  std::string said_by;              // the file and key that say how they are pooled; empty: nothing does
  std::optional<Error> refusal;     // why none are made: what the checkpoint asks for is not there, or cannot be read
};

// Never throws for what the files say: many who load the checkpoint want no embeddings.
EmbeddingForm read_embedding_form(const Checkpoint& checkpoint);

// GGUF's number for it.
uint32_t gguf_pooling_type(Pooling pooling);

}  // namespace cachalot
