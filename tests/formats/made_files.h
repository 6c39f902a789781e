// Small checkpoint files made byte by byte, right or wrong, and a folder to put them in.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace cachalot {

inline std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// A GGUF string: u64 length and bytes.
inline std::string counted(std::string_view text) { return raw<uint64_t>(text.size()) + std::string(text); }

enum GgufType : uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

// A GGUF file, part by part; `build()` lays the tensors out one after the other.
struct GgufMaker {
  struct Tensor {
    std::string name;
    std::vector<int64_t> ne;  // GGUF order
    uint32_t type;
    std::string bytes;
  };
  uint32_t version = 3;
  uint64_t alignment = 32;
  std::vector<std::string> keys;  // key, type and value as stored
  std::vector<Tensor> tensors;

  GgufMaker& key(std::string_view name, uint32_t type, std::string value) {
    keys.push_back(counted(name) + raw(type) + value);
    return *this;
  }
  GgufMaker& text(std::string_view name, std::string_view value) { return key(name, STRING, counted(value)); }
  GgufMaker& u32(std::string_view name, uint32_t value) { return key(name, U32, raw(value)); }
  GgufMaker& i32(std::string_view name, int32_t value) { return key(name, I32, raw(value)); }
  GgufMaker& u16(std::string_view name, uint16_t value) { return key(name, U16, raw(value)); }
  GgufMaker& f32(std::string_view name, float value) { return key(name, F32, raw(value)); }
  GgufMaker& flag(std::string_view name, bool value) { return key(name, BOOL, raw(uint8_t{value})); }
  template <typename T>
  GgufMaker& array(std::string_view name, uint32_t type, const std::vector<T>& values) {
    std::string bytes = raw(type) + raw<uint64_t>(values.size());
    for (const T& value : values) {
      if constexpr (std::is_same_v<T, std::string>) {
        bytes += counted(value);
      } else {
        bytes += raw(value);
      }
    }
    return key(name, ARRAY, bytes);
  }
  GgufMaker& tensor(std::string name, std::vector<int64_t> ne, uint32_t type, std::string bytes) {
    tensors.push_back({std::move(name), std::move(ne), type, std::move(bytes)});
    return *this;
  }
  GgufMaker& f32_tensor(std::string name, std::vector<int64_t> ne, std::vector<float> values = {}) {
    size_t count = 1;
    for (const int64_t n : ne) count *= static_cast<size_t>(n);
    values.resize(count);
    const auto* begin = reinterpret_cast<const char*>(values.data());
    const std::string bytes(begin, begin + count * 4);
    return tensor(std::move(name), std::move(ne), 0, bytes);
  }

  std::string build() const {
    std::string file = "GGUF" + raw(version) + raw<uint64_t>(tensors.size()) + raw<uint64_t>(keys.size());
    for (const auto& entry : keys) file += entry;
    uint64_t offset = 0;
    for (const auto& tensor : tensors) {
      file += counted(tensor.name) + raw(static_cast<uint32_t>(tensor.ne.size()));
      for (const int64_t n : tensor.ne) file += raw(n);
      file += raw(tensor.type) + raw(offset);
      offset = (offset + tensor.bytes.size() + alignment - 1) / alignment * alignment;
    }
    for (const auto& tensor : tensors) {
      file.resize((file.size() + alignment - 1) / alignment * alignment);
      file += tensor.bytes;
    }
    return file;
  }
};

// A safetensors file from its header's text and its data.
inline std::string safetensors_file(const std::string& header, const std::string& data) {
  return raw<uint64_t>(header.size()) + header + data;
}

// A folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "cachalot-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

// What the Error thrown by `action` says; a failure of the test when it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) { return error.what(); }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

}  // namespace cachalot
