// The files that a checkpoint is made of, for who must not write over them.
#pragma once

#include <filesystem>
#include <vector>

#include "formats/checkpoint.h"

namespace cachalot {

// All files that hold its tensors, and of a folder also those that hold words: config, index, tokenizer, template.
std::vector<std::filesystem::path> files_of(const Checkpoint& checkpoint);

}  // namespace cachalot
