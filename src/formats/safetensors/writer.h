// Writes one .safetensors file whose tensors are known by shape before their values: the header goes first, then the
// values are streamed. The file appears under its name only when it is whole (base/whole_file.h).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/whole_file.h"
#include "tensor/dtype.h"

namespace cachalot {

class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;  // all different (CHECKed)
    DType dtype;       // a plain type of the format: f32, f16, bf16, i32, …
    std::vector<int64_t> shape;
  };

  // Throws Error when the file cannot be made, or is one of `inputs`. An existing file is replaced at the end; a
  // device is written directly.
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<Entry>& entries,
                    const std::map<std::string, std::string>& metadata = {}, WholeFile::Inputs inputs = {});

  // The next values, tensor after tensor in the order of `entries`, in pieces of any length. Throws Error on a full
  // disk.
  void append(std::span<const std::byte> bytes);
  void append(std::span<const float> values) { append(std::as_bytes(values)); }
  // Everything is there (CHECKed): flushes and puts the file in its place. Throws Error when that fails.
  void finish();

 private:
  WholeFile file_;
  int64_t bytes_left_ = 0;
};

}  // namespace cachalot
