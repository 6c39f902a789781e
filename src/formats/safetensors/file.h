// One .safetensors file: a JSON header over contiguous row-major tensors. As strict as the reference reader: the
// tensors fill the data section from its first to its last byte without holes or overlaps. Immutable after parsing,
// so any thread may read. Layout: docs/formats.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace cachalot {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;        // row-major; a dimension may be 0
  std::span<const std::byte> bytes;  // exactly the bytes of shape and dtype; need not be aligned
  std::string other_type = {};       // how the file names an opaque dtype
};

class SafetensorsFile {
 public:
  // Throws Error when the header is longer than the file or 100 MB, no JSON of the known form, names a tensor twice,
  // or its offsets do not tile the data. A dtype that is not known is opaque: whoever needs its numbers refuses it.
  static SafetensorsFile parse(MappedFile file);
  // The same over bytes in memory, which must outlive the result. `where` names them in errors.
  static SafetensorsFile parse(std::span<const std::byte> bytes, std::string where);

  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }  // in the order of their bytes
  const SafetensorsEntry* find(std::string_view name) const;                 // nullptr when absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& where() const { return where_; }
  const MappedFile* file() const { return file_ ? &*file_ : nullptr; }  // nullptr when parsed from bytes in memory

 private:
  SafetensorsFile(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string where);

  std::optional<MappedFile> file_;
  std::string where_;
  std::vector<SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
  std::unordered_map<std::string_view, size_t> index_;  // views of tensors_' names; tensors_ never changes
};

// The files that hold the tensors of a Hugging Face folder, in order of their names: model.safetensors, or the shards
// of model.safetensors.index.json, or the only *.safetensors.
struct SafetensorsFolder {
  std::vector<std::filesystem::path> files;
  std::map<std::string, std::string> file_of_tensor;  // the index's weight_map; empty without an index
};
// The weight_map of an index: tensor name -> file name, each a plain name of a .safetensors file. Throws Error.
std::map<std::string, std::string> parse_weight_map(std::string_view json, std::string_view where);

// Throws Error when there is none (saying what is there instead), when the index is malformed, or when it names a
// file that is missing or not a plain name inside the folder.
SafetensorsFolder find_safetensors(const std::filesystem::path& folder);

}  // namespace cachalot
