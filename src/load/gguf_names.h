// What the names of GGUF files in a repository say: their type of weights, and which of them are models.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// The type that a file's path names, in small letters; empty when it names none. Of NAME-Q4_K_M.gguf,
// NAME.q4_0.gguf, NAME_q8_0.gguf, Q8_0/NAME-00001-of-00002.gguf.
std::string gguf_type_in(const std::filesystem::path& file);

// Whether a model can be opened by this name: not a later shard of a split file, nor what lies beside models (the
// part that sees, importance matrices).
bool is_gguf_model(const std::filesystem::path& file);

// Whether `wanted` means this file: its type or its name, in any case of letters.
bool is_gguf_of(const std::filesystem::path& file, std::string_view wanted);

// What the name of one file of a split model says: NAME-00002-of-00003.gguf.
struct GgufShard {
  std::string stem;  // NAME, with the folders before it
  int number = 0, count = 0;

  std::string file(int other) const;  // the name of another one
};
std::optional<GgufShard> gguf_shard(const std::filesystem::path& file);

// All files of a model, by the name of the one that is opened: of a split one all shards, of others itself.
std::vector<std::filesystem::path> gguf_files_of(const std::filesystem::path& model);

}  // namespace cachalot
