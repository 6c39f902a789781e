// A model's configuration in GGUF's keys: what formats/gguf/config.cpp reads back.
#pragma once

#include <string_view>

#include "formats/config.h"
#include "formats/gguf/writer.h"
#include "model/spec.h"

namespace cachalot {

// GGUF's name for the models of a config. Throws Error that lists the classes that can be written.
std::string_view gguf_architecture(const Config& config);

// Adds the architecture's keys. `spec` is the config's, with the prediction modules that are going to be written.
// Throws Error for what the keys cannot say: a RoPE that grows with the text, layers that differ otherwise than by
// windows and leading dense ones, biases that the architecture does not know.
void add_gguf_metadata(const Config& config, const ModelSpec& spec, GgufMetadata& out);

}  // namespace cachalot
