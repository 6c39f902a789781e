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
#include "formats/gguf/config.h"
#include "formats/gguf/file.h"
#include "formats/huggingface/quantization.h"
#include "formats/safetensors/file.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

namespace fs = std::filesystem;

// --- stored tensors ---

int64_t StoredTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

// Where row or component r of the model lies in the file: within a head of n, the two halves alternate.
static int64_t stored_position(int64_t r, int64_t total, int heads) {
  if (heads == 0) return r;
  const int64_t head = total / heads, half = head / 2, i = r % head;
  return r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

std::span<const std::byte> StoredTensor::row(int64_t r) const {
  CHECK(r >= 0 && r < rows(), "row {} of {}", r, rows());
  CHECK(interleaved_heads == 0 || shape.size() >= 2, "a vector's components are no rows");
  const auto size = static_cast<size_t>(row_bytes(dtype, columns()));
  return bytes.subspan(static_cast<size_t>(stored_position(r, rows(), interleaved_heads)) * size, size);
}

StoredTensor StoredTensor::rows_part(int64_t begin, int64_t end) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows [{}, {}) of {}", begin, end, rows());
  CHECK(interleaved_heads == 0, "rows of heads that are stored in another order");
  StoredTensor part = *this;
  const auto size = static_cast<size_t>(row_bytes(dtype, columns()));
  part.shape = {end - begin, columns()};
  part.bytes = bytes.subspan(static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size);
  part.first_row += begin;
  if (part.scales) part.scales->first_row += begin;
  return part;
}

StoredTensor StoredTensor::components(int64_t begin, int64_t end) const {
  CHECK(shape.size() == 1 && interleaved_heads == 0 && 0 <= begin && begin <= end && end <= shape[0]);
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw Error(fmt::format("vector '{}' is stored as {}", name, type_name()))
        .in(file ? file->path().string() : "")
        .because("parts of it are needed, so f32, f16 or bf16 was expected");
  StoredTensor part = *this;
  const auto size = static_cast<size_t>(row_bytes(dtype, 1));
  part.shape = {end - begin};
  part.bytes = bytes.subspan(static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size);
  return part;
}

void StoredTensor::read_rows(int64_t begin, int64_t end, float* out) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows [{}, {}) of {}", begin, end, rows());
  if (interleaved_heads != 0 && shape.size() < 2) {
    std::vector<float> stored(static_cast<size_t>(columns()));
    dequantize(dtype, bytes, stored);
    for (int64_t i = 0; i < columns() && begin < end; ++i)
      out[i] = stored[stored_position(i, columns(), interleaved_heads)];
    return;
  }
  const auto width = static_cast<size_t>(columns());
  std::vector<float> factors(scales && begin < end ? static_cast<size_t>(scales->grid_columns) : 0);
  for (int64_t r = begin; r < end; ++r, out += width) {
    dequantize(dtype, row(r), {out, width});
    if (!scales) continue;
    scales->read_row(r, factors);
    for (size_t c = 0; c < width; ++c) out[c] *= factors[c / static_cast<size_t>(scales->block_columns)];
  }
}

void BlockScales::read_row(int64_t r, std::span<float> out) const {
  const int64_t matrix = (first_row + r) / matrix_rows, row = (first_row + r) % matrix_rows;
  const auto size = static_cast<size_t>(row_bytes(dtype, grid_columns));
  dequantize(dtype, bytes.subspan(static_cast<size_t>(matrix * grid_rows + row / block_rows) * size, size), out);
}

static constexpr float kLargestFactor = std::numeric_limits<float>::max() / 448;  // 448: the largest code

void StoredTensor::check_rows(int64_t begin, int64_t end) const {
  if (!scales || begin >= end) return;
  const auto problem = [&](int64_t r, std::string_view what) {
    return Error(fmt::format("row {} of tensor {} {}", r + scales->first_row, quote(name), what))
        .in(file ? file->path().string() : "")
        .hint("the file is corrupt; download it again");
  };
  std::vector<float> factors(static_cast<size_t>(scales->grid_columns));
  for (int64_t r = begin; r < end; ++r) {
    const auto codes = row(r);
    bool nan = false;  // no early end, so that the compiler makes vectors of it
    for (const std::byte code : codes) nan |= (code & std::byte{0x7f}) == std::byte{0x7f};
    if (nan) throw problem(r, "holds a NaN");
    scales->read_row(r, factors);
    for (const float factor : factors)
      if (!(factor >= 0 && factor <= kLargestFactor)) throw problem(r, fmt::format("has the factor {}", factor));
  }
}

int64_t StoredTensor::stored_bytes() const {
  return static_cast<int64_t>(bytes.size() + (scales ? scales->bytes.size() : 0));
}

// --- the parts of an open checkpoint ---

struct Checkpoint::Parts {
  fs::path path;
  Container container;
  Config config;
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

// llama's converter reorders the rows of q and k; a fact of the format, so it is undone here and no family knows it.
int interleaved_heads(const GgufTensor& tensor, const Config& config, const GgufFile& file) {
  const auto part = [&](std::string_view name) {
    return tensor.name.ends_with(fmt::format(".{}.weight", name)) ||
           tensor.name.ends_with(fmt::format(".{}.bias", name));
  };
  const bool q = part("attn_q");
  if (file.text_or("general.architecture", "") != "llama" || (!q && !part("attn_k"))) return 0;
  const int heads = config.integer(q ? "num_attention_heads" : "num_key_value_heads", 1);
  const int64_t rows = tensor.shape.size() == 2 ? tensor.shape[0] : tensor.shape.size() == 1 ? tensor.shape[0] : 0;
  if (rows == 0 || rows % (2 * int64_t{heads}) != 0)
    throw Error(fmt::format("tensor {} has shape [{}]", quote(tensor.name), fmt::join(tensor.shape, ", ")))
        .in(file.where())
        .because(fmt::format("its rows are {} heads of an even number each", heads));
  return heads;
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
      parts->tensors.push_back(
          {entry.name, entry.dtype, entry.shape, entry.bytes, file.file(), 0, {}, 0, entry.other_type});
  if (std::error_code code; fs::exists(folder / "adapter_config.json", code))
    warn("{}: there is an adapter (LoRA) beside the weights, which is not applied", folder.string());
  parts->index = index_names(parts->tensors, folder);
  check_index(found, parts->tensors, parts->index, folder);
  refuse_packed_weights(parts->tensors, folder);
  attach_scales(parts->tensors, fp8, parts->config);
  parts->index = index_names(parts->tensors, folder);
  return parts;
}

std::unique_ptr<Checkpoint::Parts> Checkpoint::open_gguf(const fs::path& file) {
  if (const MappedFile mapped(file); !starts_like_gguf(mapped.bytes()) || is_unfinished(file.filename().string()))
    throw no_checkpoint(file, mapped.bytes());
  auto shards = open_shards(file);
  Config config = gguf_config(shards);
  auto parts =
      std::make_unique<Parts>(Parts{file, Container::gguf, std::move(config), {}, std::move(shards), {}, {}});
  for (const GgufFile& shard : parts->gguf)
    for (const GgufTensor& tensor : shard.tensors())
      parts->tensors.push_back({std::string(tensor.name),
                                tensor.dtype,
                                tensor.shape,
                                tensor.bytes,
                                shard.file(),
                                interleaved_heads(tensor, parts->config, parts->gguf[0]),
                                {},
                                0,
                                tensor.other_type});
  parts->index = index_names(parts->tensors, file);
  return parts;
}

Checkpoint::Checkpoint(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Container Checkpoint::container() const { return parts_->container; }
const Config& Checkpoint::config() const { return parts_->config; }
const fs::path& Checkpoint::path() const { return parts_->path; }
const std::vector<StoredTensor>& Checkpoint::tensors() const { return parts_->tensors; }
const GgufFile* Checkpoint::gguf() const { return parts_->gguf.empty() ? nullptr : &parts_->gguf[0]; }

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto found = parts_->index.find(name);
  return found == parts_->index.end() ? nullptr : &parts_->tensors[found->second];
}

void Checkpoint::release(const StoredTensor& tensor) const {
  tensor.file->release(tensor.bytes);
  if (tensor.scales) tensor.scales->file->release(tensor.scales->bytes);
}

int64_t Checkpoint::tensor_bytes() const {
  int64_t bytes = 0;
  for (const StoredTensor& tensor : parts_->tensors) bytes += tensor.stored_bytes();
  return bytes;
}

}  // namespace cachalot
