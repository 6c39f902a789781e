// The metadata of one GGUF checkpoint under its architecture's name, and its tensors by name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/gguf/file.h"

namespace cachalot {

// Keys stand without the architecture's name. Getters throw Error as GgufFile's do.
class GgufReader {
 public:
  // `shards`: the files of one checkpoint, the first holding the metadata; they outlive the reader. Throws Error when
  // the file names no architecture.
  explicit GgufReader(std::span<const GgufFile> shards);

  // A file beside a model (an adapter, an importance matrix) has its type's name in place of an architecture's.
  std::string_view architecture() const { return architecture_; }
  std::string quoted_architecture() const;  // valid UTF-8, the name as it is when it is plain text
  const GgufFile& file() const { return shards_[0]; }

  std::string key(std::string_view name) const;
  bool has(std::string_view name) const { return file().has(key(name)); }
  int64_t integer(std::string_view name, int64_t min = 1) const { return file().integer(key(name), min); }
  int64_t integer_or(std::string_view name, int64_t fallback, int64_t min = 1) const;
  // GGUF keeps numbers as f32 where config.json has decimals. The shortest decimal that reads back as the same f32 is
  // the number that the converter was given, so that both containers lead to the same arithmetic.
  double number(std::string_view name) const;
  double number_or(std::string_view name, double fallback) const;
  bool flag_or(std::string_view name, bool fallback) const { return file().boolean_or(key(name), fallback); }
  std::string_view text_or(std::string_view name, std::string_view fallback) const;
  // A number that may be stored once per layer. Nothing when the layers differ.
  std::optional<int64_t> same_in_all_layers(std::string_view name) const;
  int64_t layer_integer(std::string_view name) const;  // throws Error when they do

  const GgufTensor* tensor(std::string_view name) const;  // nullptr when absent
  bool has_tensors(std::string_view beginning) const;     // whose names begin so
  // Rows of a stacked tensor of experts [E, rows, columns], or of a plain one [rows, columns], whose name ends so.
  int64_t rows_of(std::string_view ending) const;

  Error error(std::string what) const { return Error(std::move(what)).in(file().where()); }

 private:
  std::span<const GgufFile> shards_;
  std::string_view architecture_;
};

// See GgufReader::number().
double as_decimal(double stored);

}  // namespace cachalot
