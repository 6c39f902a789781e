// The sampling parameters that a checkpoint recommends: generation_config.json, or GGUF's general.sampling.*.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "formats/checkpoint.h"

namespace cachalot {

// What a checkpoint says of a parameter and cannot be followed: worth a warning where nothing else was asked for.
struct UnusableDefault {
  std::string_view parameter;  // of SamplingParams, as --option spells it: "top_k"; empty: of all of them
  std::string message;         // names file and key, and what is taken instead
};

struct SamplingDefaults {
  SamplingParams params;  // every one in its range
  std::optional<int> max_tokens;
  std::vector<UnusableDefault> unusable;
};

// Never throws for what the files say: a default that is never used must not stop anything. Null counts as absent, as
// in transformers; do_sample false (or absent from generation_config.json) means temperature 0.
SamplingDefaults read_sampling_defaults(const Checkpoint& checkpoint);

// generation_config.json; none for GGUF, and when it is absent or cannot be read.
std::optional<Config> generation_config(const Checkpoint& checkpoint);

}  // namespace cachalot
