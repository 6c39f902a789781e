// What the name of a model on the command line means.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace cachalot {

// A folder or .gguf file that exists; else a model that ships (`models/NAME` beside the program or in the
// installation), one in a folder of CACHALOT_MODELS (separated by ':'), or REPO[@REVISION][:TYPE] in the local
// Hugging Face cache ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B-GGUF:q8_0"). A repository's folder in that cache counts as
// its name. Throws Error that lists where it looked.
std::filesystem::path resolve_model(std::string_view name);

// The folders in which a model's name is looked up: those that ship, then those of CACHALOT_MODELS.
struct ModelFolders {
  std::vector<std::filesystem::path> shipped, own;
};
ModelFolders model_folders();

}  // namespace cachalot
