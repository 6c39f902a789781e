// Where the tests find the checkpoints that tools/test_models.py makes.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace cachalot::testing {

// A folder with a checkpoint: gqa, window or mla. A missing one fails the test.
inline std::filesystem::path test_model(const std::string& name) {
  const char* set = std::getenv("CACHALOT_TEST_MODELS");
  const auto folder =
      (set ? std::filesystem::path(set) : std::filesystem::path(CACHALOT_SOURCE_DIR) / "build/test-models") / name;
  if (!std::filesystem::exists(folder / "model.safetensors"))
    throw std::runtime_error("no checkpoint in " + folder.string() +
                             ": run tools/test_models.py DIR and, unless DIR is build/test-models, set "
                             "CACHALOT_TEST_MODELS to it");
  return folder;
}

}  // namespace cachalot::testing
