#include "formats/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/gguf/file.h"
#include "formats/huggingface/quantization.h"
#include "formats/safetensors/file.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

namespace fs = std::filesystem;

// --- the parts of an open checkpoint ---

struct Checkpoint::Parts {
  fs::path path;
  Container container;
  std::optional<Config> config;              // of safetensors
  std::vector<SafetensorsFile> safetensors;  // one of the two is empty
  std::vector<GgufFile> gguf;
  std::vector<StoredTensor> tensors;
  std::unordered_map<std::string_view, size_t> index;  // views of the tensors' names
};

namespace {

// Views die with the vectors that own the names, so the index is built when `tensors` is complete.
std::unordered_map<std::string_view, size_t> index_names(const std::vector<StoredTensor>& tensors,
                                                         const fs::path& path) {
  std::unordered_map<std::string_view, size_t> index;
  index.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto [first, is_new] = index.emplace(tensors[i].name, i);
    if (!is_new)
      throw Error(fmt::format("tensor {} is in two files", quote(tensors[i].name)))
          .in(path.string())
          .because(fmt::format("{} and {} both hold it", tensors[first->second].file->path().filename().string(),
                               tensors[i].file->path().filename().string()));
  }
  return index;
}

// --- safetensors ---

void check_index(const SafetensorsFolder& folder, const std::vector<StoredTensor>& tensors,
                 const std::unordered_map<std::string_view, size_t>& index, const fs::path& path) {
  for (const auto& [name, file] : folder.file_of_tensor) {
    const auto found = index.find(name);
    const bool there = found != index.end() && tensors[found->second].file->path().filename() == file;
    if (!there)
      throw Error(fmt::format("tensor {} is not in {}", quote(name), quote(file)))
          .in(path.string())
          .because("model.safetensors.index.json says that it is")
          .hint("the index and the shards are of different downloads; fetch them again");
  }
}

// --- GGUF ---

struct SplitName {
  std::string stem;  // all before "-00001-of-00009.gguf"
  int number, count;
};

std::optional<int> five_digits(std::string_view text) {
  int number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

std::optional<SplitName> split_name(const std::string& name) {
  constexpr std::string_view form = "-00001-of-00009.gguf";
  if (name.size() <= form.size() || !name.ends_with(".gguf")) return std::nullopt;
  const std::string tail = name.substr(name.size() - form.size());
  const auto number = five_digits(std::string_view(tail).substr(1, 5));
  const auto count = five_digits(std::string_view(tail).substr(10, 5));
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !number || !count) return std::nullopt;
  return SplitName{name.substr(0, name.size() - form.size()), *number, *count};
}

std::string shard_file(const SplitName& name, int number) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, number, name.count);
}

std::vector<GgufFile> open_shards(const fs::path& path) {
  constexpr int kMaxShards = 9999;
  std::vector<GgufFile> shards;
  shards.push_back(GgufFile::parse(MappedFile(path)));
  const int count = static_cast<int>(shards[0].integer_or("split.count", 1, 0, kMaxShards));
  if (count <= 1) return shards;
  const auto name = split_name(path.filename().string());
  if (!name || name->count != count)
    throw Error(fmt::format("the file is one of {} shards, but its name does not say so", count))
        .in(path.string())
        .because(fmt::format("a name like NAME-00001-of-{:05}.gguf is expected", count))
        .hint("give the shards back the names that they were published with");
  const auto number = shards[0].integer("split.no", 0, kMaxShards);
  if (number != 0)
    throw Error(fmt::format("this is shard {} of {}, not the first", number + 1, count))
        .in(path.string())
        .hint("give " + (path.parent_path() / shard_file(*name, 1)).string());
  int64_t tensors = static_cast<int64_t>(shards[0].tensors().size());
  for (int i = 1; i < count; ++i) {
    const fs::path file = path.parent_path() / shard_file(*name, i + 1);
    if (std::error_code code; !fs::exists(file, code))
      throw Error(fmt::format("shard {} of {} is missing", i + 1, count))
          .in(file.string())
          .hint("the download is incomplete; fetch the missing files");
    shards.push_back(GgufFile::parse(MappedFile(file)));
    if (shards[i].integer("split.no", 0, kMaxShards) != i || shards[i].integer("split.count", 0, kMaxShards) != count)
      throw Error(fmt::format("the file is not shard {} of {}", i + 1, count))
          .in(file.string())
          .because(fmt::format("split.no = {}, split.count = {}", shards[i].integer("split.no"),
                               shards[i].integer("split.count")));
    tensors += static_cast<int64_t>(shards[i].tensors().size());
  }
  if (shards[0].has("split.tensors.count") && shards[0].integer("split.tensors.count") != tensors)
    throw Error(fmt::format("the {} shards hold {} tensors, but {} were expected", count, tensors,
                            shards[0].integer("split.tensors.count")))
        .in(path.string())
        .because("split.tensors.count");
  return shards;
}

bool starts_like_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

}  // namespace

// --- the checkpoint ---

Checkpoint Checkpoint::open(const fs::path& path) {
  std::error_code code;
  const auto status = fs::status(path, code);
  if (!fs::exists(status)) throw Error("there is no such file or folder").in(path.string());
  return Checkpoint(fs::is_directory(status) ? open_folder(path) : open_gguf(path));
}

std::unique_ptr<Checkpoint::Parts> Checkpoint::open_folder(const fs::path& folder) {
  if (std::error_code code; !fs::exists(folder / "config.json", code)) {
    find_safetensors(folder);  // says what is there instead of weights
    throw Error("config.json is missing")
        .in(folder.string())
        .hint("fetch the whole repository, not only the weights");
  }
  Config config = Config::read(folder / "config.json");
  const auto fp8 = fp8_blocks(config);
  auto parts = std::make_unique<Parts>(Parts{folder, Container::safetensors, std::move(config), {}, {}, {}, {}});
  const SafetensorsFolder found = find_safetensors(folder);
  for (const auto& file : found.files) parts->safetensors.push_back(SafetensorsFile::parse(MappedFile(file)));
  for (const auto& file : parts->safetensors)
    for (const auto& entry : file.tensors())
      parts->tensors.push_back({.name = entry.name,
                                .dtype = entry.dtype,
                                .shape = entry.shape,
                                .bytes = entry.bytes,
                                .file = file.file(),
                                .other_type = entry.other_type});
  if (std::error_code code; fs::exists(folder / "adapter_config.json", code))
    warn("{}: there is an adapter (LoRA) beside the weights, which is not applied", folder.string());
  parts->index = index_names(parts->tensors, folder);
  check_index(found, parts->tensors, parts->index, folder);
  refuse_packed_weights(parts->tensors, folder);
  attach_scales(parts->tensors, fp8, *parts->config);
  parts->index = index_names(parts->tensors, folder);
  return parts;
}

std::unique_ptr<Checkpoint::Parts> Checkpoint::open_gguf(const fs::path& file) {
  if (const MappedFile mapped(file); !starts_like_gguf(mapped.bytes()) || is_unfinished(file.filename().string()))
    throw no_checkpoint(file, mapped.bytes());
  auto parts = std::make_unique<Parts>(Parts{file, Container::gguf, {}, {}, open_shards(file), {}, {}});
  for (const GgufFile& shard : parts->gguf)
    for (const GgufTensor& tensor : shard.tensors())
      parts->tensors.push_back({.name = std::string(tensor.name),
                                .dtype = tensor.dtype,
                                .shape = tensor.shape,
                                .bytes = tensor.bytes,
                                .file = shard.file(),
                                .other_type = tensor.other_type});
  parts->index = index_names(parts->tensors, file);
  return parts;
}

Checkpoint::Checkpoint(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Container Checkpoint::container() const { return parts_->container; }
const Config* Checkpoint::config() const { return parts_->config ? &*parts_->config : nullptr; }
const std::string& Checkpoint::stated_in() const { return config() ? config()->where() : gguf()->where(); }
const fs::path& Checkpoint::path() const { return parts_->path; }
const std::vector<StoredTensor>& Checkpoint::tensors() const { return parts_->tensors; }
const GgufFile* Checkpoint::gguf() const { return parts_->gguf.empty() ? nullptr : &parts_->gguf[0]; }
std::span<const GgufFile> Checkpoint::gguf_shards() const { return parts_->gguf; }

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = parts_->index.find(name);
  return found == parts_->index.end() ? nullptr : &parts_->tensors[found->second];
}

void Checkpoint::release(const StoredTensor& tensor) {
  tensor.release_rows(0, tensor.rows());
  if (tensor.scales) tensor.scales->file->release(tensor.scales->bytes);
}

int64_t Checkpoint::tensor_bytes() const {
  int64_t bytes = 0;
  for (const StoredTensor& tensor : parts_->tensors) bytes += tensor.stored_bytes();
  return bytes;
}

}  // namespace cachalot
