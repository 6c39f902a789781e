// Where the tests find the real vocabularies, and the golden strings.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace cachalot {

// A folder with tokenizer.json. A missing vocabulary fails the test.
inline std::filesystem::path vocabulary_folder(const std::string& name) {
  const char* set = std::getenv("CACHALOT_VOCABULARIES");
  const auto folder =
      (set ? std::filesystem::path(set) : std::filesystem::path(CACHALOT_SOURCE_DIR) / "build/vocabularies") / name;
  if (!std::filesystem::exists(folder / "tokenizer.json")) {
    throw std::runtime_error(
        "no vocabulary in " + folder.string() +
        ": run tools/fetch_vocabularies.sh [DIR] and, with a DIR, set CACHALOT_VOCABULARIES to it");
  }
  return folder;
}

// The strings of a set that tools/goldens/token_ids.py wrote; those that are not UTF-8 are stored in hexadecimal.
inline std::vector<std::string> golden_strings(const std::filesystem::path& folder) {
  std::vector<std::string> strings;
  const auto file = nlohmann::json::parse(read_text_file(folder / "strings.json"));
  for (const auto& entry : file["strings"]) {
    std::string& text = strings.emplace_back();
    if (entry.is_string()) {
      text = entry;
      continue;
    }
    const std::string hex = entry["hex"];
    for (size_t i = 0; i < hex.size(); i += 2) text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return strings;
}

}  // namespace cachalot
