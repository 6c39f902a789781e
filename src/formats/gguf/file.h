// One .gguf file, version 2 or 3: typed metadata and a tensor directory over the mapped bytes. Every count, length,
// offset and product is checked against the file's size while parsing, before anything is allocated for it; the
// getters then only check types and ranges. Immutable after parsing, so any thread may read. Layout: docs/formats.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace cachalot {

// GGUF's number for an element type; nothing when it has none.
std::optional<uint32_t> gguf_type(DType type);

struct GgufTensor {
  std::string_view name;  // inside the file
  DType dtype;
  std::vector<int64_t> shape;  // PyTorch order: GGUF's ne[], whose first size is the fastest, reversed
  // Row-major, exactly the bytes of shape and dtype; of an opaque dtype all up to the next tensor.
  std::span<const std::byte> bytes;
  std::string other_type = {};  // GGUF's name or number of an opaque dtype
};

class GgufFile {
 public:
  // Throws Error on anything that is not a whole and consistent file: wrong magic, version 1, big-endian, counts,
  // lengths or offsets beyond the file, nested arrays, duplicate keys or names, overlapping tensors. An
  // element type that is not read is opaque: whoever needs its numbers refuses it.
  static GgufFile parse(MappedFile file);
  // The same over bytes in memory, which must outlive the result. `where` names them in errors.
  static GgufFile parse(std::span<const std::byte> bytes, std::string where);

  bool has(std::string_view key) const { return values_.contains(key); }
  // Each throws Error naming file and key when the key is absent (without a fallback), of another type, or out of
  // range. An integer may be stored in any integer type, a number in any integer or float type; a number must be
  // finite.
  int64_t integer(std::string_view key, int64_t min = 0, int64_t max = 1 << 30) const;
  int64_t integer_or(std::string_view key, int64_t fallback, int64_t min = 0, int64_t max = 1 << 30) const;
  double number(std::string_view key) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean(std::string_view key) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string_view text(std::string_view key) const;  // the bytes as they are; not necessarily valid UTF-8
  std::string_view text_or(std::string_view key, std::string_view fallback) const;
  // Arrays; empty when the key is absent. Views point into the file. Elements may have the types that the getters
  // above accept.
  std::vector<std::string_view> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;  // one integer counts as an array of one
  // One number counts as an array of one; need not be finite.
  std::vector<double> numbers(std::string_view key) const;
  std::vector<bool> booleans(std::string_view key) const;
  std::optional<int64_t> array_length(std::string_view key) const;  // nothing when the key is absent or no array
  // Type and value of a key that is there (CHECKed), as the file spells them: for copying.
  std::span<const std::byte> stored(std::string_view key) const;

  const std::vector<std::string_view>& keys() const { return keys_; }  // in file order
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* find(std::string_view name) const;                 // nullptr when absent
  int version() const { return version_; }
  const std::string& where() const { return where_; }
  const MappedFile* file() const { return file_ ? &*file_ : nullptr; }  // nullptr when parsed from bytes in memory

 private:
  friend class GgufParser;
  enum class Type : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
  struct Value {
    Type type;  // of the elements when it is an array
    bool array;
    int64_t count;                       // 1 when it is no array
    std::span<const std::byte> payload;  // the elements as stored; a string is a u64 length and its bytes
  };
  GgufFile(std::optional<MappedFile> file, std::span<const std::byte> bytes, std::string where);
  const Value* value(std::string_view key) const;
  const Value& scalar(std::string_view key) const;
  int64_t integer_at(std::string_view key, const Value& value, int64_t index) const;
  double number_at(std::string_view key, const Value& value, int64_t index) const;

  std::optional<MappedFile> file_;
  std::span<const std::byte> bytes_;
  std::string where_;
  int version_ = 0;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace cachalot
