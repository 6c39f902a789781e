#include "formats/checkpoint_files.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "formats/gguf/file.h"

namespace cachalot {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const Checkpoint& checkpoint) {
  std::set<fs::path> files;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    files.insert(tensor.file->path());
    if (tensor.scales) files.insert(tensor.scales->file->path());
  }
  if (checkpoint.gguf()) {
    files.insert(checkpoint.gguf()->file()->path());  // the first of several may hold no tensor
    return {files.begin(), files.end()};
  }
  static constexpr std::array<std::string_view, 5> kWords = {".json", ".jinja", ".txt", ".model", ".tiktoken"};
  std::error_code code;
  for (fs::directory_iterator entry(checkpoint.path(), code), end; !code && entry != end; entry.increment(code))
    if (std::find(kWords.begin(), kWords.end(), entry->path().extension()) != kWords.end())
      files.insert(entry->path());
  return {files.begin(), files.end()};
}

}  // namespace cachalot
