// A checkpoint as published: named tensors in mapped files, as Hugging Face safetensors with a config.json or as GGUF
// with metadata. model/gguf_config.h has the configuration of either in the same words. All bytes are hostile: every
// offset, count and product was bounded before this object exists. Immutable after opening, so any thread may read.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/config.h"
#include "formats/stored_tensor.h"

namespace cachalot {

enum class Container { safetensors, gguf };

class GgufFile;

class Checkpoint {
 public:
  // `path`: a folder with config.json and *.safetensors (single, or sharded by model.safetensors.index.json), or a
  // .gguf file (for a split one the first shard). Throws Error; refuses GPTQ, AWQ, bitsandbytes, compressed-tensors
  // and .bin checkpoints, and other FP8 than e4m3 in blocks, by name with a hint.
  static Checkpoint open(const std::filesystem::path& path);
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  Container container() const;
  const Config* config() const;          // config.json; nullptr for GGUF
  const std::string& stated_in() const;  // the file that says what the model is: config.json or the GGUF file
  const std::filesystem::path& path() const;
  const std::vector<StoredTensor>& tensors() const;       // in file order; factors belong to their tensor
  const StoredTensor* find(std::string_view name) const;  // nullptr when absent
  const GgufFile* gguf() const;                   // the first shard, which has the metadata; nullptr for safetensors
  std::span<const GgufFile> gguf_shards() const;  // empty for safetensors
  static void release(const StoredTensor& tensor);  // give its pages back after packing
  int64_t tensor_bytes() const;

 private:
  struct Parts;
  explicit Checkpoint(std::unique_ptr<Parts> parts);
  static std::unique_ptr<Parts> open_folder(const std::filesystem::path& folder);
  static std::unique_ptr<Parts> open_gguf(const std::filesystem::path& file);
  std::unique_ptr<Parts> parts_;
};

}  // namespace cachalot
