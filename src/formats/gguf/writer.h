// Writes one GGUF file, version 3: metadata, a directory of tensors known by shape, then their values, streamed. The
// file appears under its name only when it is whole (base/whole_file.h).
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/whole_file.h"
#include "formats/gguf/file.h"
#include "tensor/dtype.h"

namespace cachalot {

// Metadata as the file spells it, in order. Keys must differ from each other (CHECKed).
class GgufMetadata {
 public:
  // T: an integer of 8 to 64 bits, float, double, bool or std::string_view.
  template <typename T>
  void add(std::string_view key, T value) {
    begin(key);
    put(type_id<T>());
    put(value);
  }
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }
  void add(std::string_view key, const std::string& value) { add(key, std::string_view(value)); }
  // Values: a list of such, or of std::string.
  template <typename Values>
  void add_array(std::string_view key, const Values& values) {
    using T = typename Values::value_type;
    using Stored = std::conditional_t<std::is_same_v<T, std::string>, std::string_view, T>;
    begin(key);
    put(uint32_t{9});
    put(type_id<Stored>());
    put(static_cast<uint64_t>(values.size()));
    for (const auto& value : values) put(static_cast<Stored>(value));
  }
  // The value that `file` has under `key`, whatever its type.
  void copy(const GgufFile& file, std::string_view key);

  bool has(std::string_view key) const;
  size_t keys() const { return keys_.size(); }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key);
  template <typename T>
  static constexpr uint32_t type_id() {
    if constexpr (std::is_same_v<T, uint8_t>) return 0;
    if constexpr (std::is_same_v<T, int8_t>) return 1;
    if constexpr (std::is_same_v<T, uint16_t>) return 2;
    if constexpr (std::is_same_v<T, int16_t>) return 3;
    if constexpr (std::is_same_v<T, uint32_t>) return 4;
    if constexpr (std::is_same_v<T, int32_t>) return 5;
    if constexpr (std::is_same_v<T, float>) return 6;
    if constexpr (std::is_same_v<T, bool>) return 7;
    if constexpr (std::is_same_v<T, std::string_view>) return 8;
    if constexpr (std::is_same_v<T, uint64_t>) return 10;
    if constexpr (std::is_same_v<T, int64_t>) return 11;
    if constexpr (std::is_same_v<T, double>) return 12;
  }
  template <typename T>
  void put(T value) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      put(static_cast<uint64_t>(value.size()));
      bytes_ += value;
    } else {
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian machines only, as gguf.cpp
    }
  }

  std::string bytes_;
  std::vector<std::string> keys_;
};

class GgufWriter {
 public:
  struct Entry {
    std::string name;            // all different, of at most 63 bytes (CHECKed)
    DType dtype;                 // one that GGUF has
    std::vector<int64_t> shape;  // PyTorch order; 1 to 4 sizes above 0, rows of whole blocks
  };

  // Throws Error when the file cannot be made, or is one of `inputs`. Tensors start at multiples of 32 bytes.
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata, const std::vector<Entry>& entries,
             WholeFile::Existing existing, WholeFile::Inputs inputs = {});

  // The next bytes of values, tensor after tensor in the order of `entries`, in pieces that end where a tensor does
  // or earlier. Throws Error on a full disk.
  void append(std::span<const std::byte> bytes);
  // Everything is there (CHECKed): puts the file in its place. Throws Error when that fails.
  void finish();

  static int64_t bytes_of(const Entry& entry);

 private:
  void pad(int64_t written);
  void skip_empty();

  WholeFile file_;
  std::vector<int64_t> sizes_;  // bytes of each tensor
  size_t tensor_ = 0;
  int64_t done_ = 0;  // bytes of tensor_
};

}  // namespace cachalot
