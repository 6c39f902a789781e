// What lies where a checkpoint should be: files and folders of other kinds are told by their first bytes and by the
// names in them, so that a message can say what it is and what to do instead.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cachalot {

struct ForeignFile {
  std::string_view what, advice;
};

// A Git LFS pointer, an archive, a pickle, a web page …; none when the bytes look like nothing known. JSON and text
// are no kind of their own, nor is safetensors, whose first bytes may be anything.
std::optional<ForeignFile> foreign_file(std::span<const std::byte> bytes);
// Throws Error when foreign_file() knows the bytes.
void refuse_foreign(std::span<const std::byte> bytes, std::string_view where);

// The text of a small file of a checkpoint. Throws Error when it cannot be read, is longer, or is a foreign_file().
std::string read_checkpoint_text(const std::filesystem::path& path, size_t limit_bytes = size_t{64} << 20);

// The names in a folder, sorted, without what macOS leaves behind on other file systems ("._NAME" beside NAME, and
// .DS_Store). Throws Error when the folder cannot be listed.
std::vector<std::string> names_in(const std::filesystem::path& folder);

// Whether there is a file of this name. A link that leads nowhere counts, as does what may not be seen: whoever reads
// it says so, where doing without would change results.
bool is_there(const std::filesystem::path& path);

// Whether a downloading program gives this name to what it has not finished.
bool is_unfinished(std::string_view name);
// Whether the file holds an adapter (LoRA) for another model's weights.
bool is_adapter(std::string_view name);

// Why a folder has no weights that are read: what it is instead, or what is in it.
Error no_weights(const std::filesystem::path& folder);
// Why a file is no GGUF file and no folder.
Error no_checkpoint(const std::filesystem::path& file, std::span<const std::byte> bytes);

}  // namespace cachalot
