#include "formats/gguf/writer.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace cachalot {

static constexpr int64_t kAlignment = 32;

static int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// -- Metadata

void GgufMetadata::begin(std::string_view key) {
  CHECK(!has(key), "the key '{}' is given twice", key);
  keys_.emplace_back(key);
  put(key);
}

bool GgufMetadata::has(std::string_view key) const {
  return std::find(keys_.begin(), keys_.end(), key) != keys_.end();
}

void GgufMetadata::copy(const GgufFile& file, std::string_view key) {
  begin(key);
  const auto stored = file.stored(key);
  bytes_.append(reinterpret_cast<const char*>(stored.data()), stored.size());
}

// -- The file

int64_t GgufWriter::bytes_of(const Entry& entry) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < entry.shape.size(); ++i) rows *= entry.shape[i];
  return rows * row_bytes(entry.dtype, entry.shape.back());
}

template <typename T>
static void put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

static std::string directory(const std::vector<GgufWriter::Entry>& entries) {
  std::string bytes;
  std::set<std::string_view> names;
  int64_t offset = 0;
  for (const auto& entry : entries) {
    CHECK(!entry.name.empty() && entry.name.size() <= 63, "a tensor is called '{}'", entry.name);
    CHECK(names.insert(entry.name).second, "two tensors are called '{}'", entry.name);
    CHECK(!entry.shape.empty() && entry.shape.size() <= 4, "{} has {} dimensions", entry.name, entry.shape.size());
    const auto type = gguf_type(entry.dtype);
    CHECK(type, "GGUF has no type {}", name(entry.dtype));
    put(bytes, static_cast<uint64_t>(entry.name.size()));
    bytes += entry.name;
    put(bytes, static_cast<uint32_t>(entry.shape.size()));
    for (auto size = entry.shape.rbegin(); size != entry.shape.rend(); ++size) {
      CHECK(*size >= 0, "{} has a dimension of size {}", entry.name, *size);
      put(bytes, static_cast<uint64_t>(*size));
    }
    put(bytes, *type);
    put(bytes, static_cast<uint64_t>(offset));
    offset = aligned(offset + GgufWriter::bytes_of(entry));
  }
  return bytes;
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       const std::vector<Entry>& entries, WholeFile::Existing existing, WholeFile::Inputs inputs)
    : file_(path, existing, inputs) {
  std::string head = "GGUF";
  put(head, uint32_t{3});
  put(head, static_cast<uint64_t>(entries.size()));
  put(head, static_cast<uint64_t>(metadata.keys()));
  head += metadata.bytes();
  head += directory(entries);
  for (const Entry& entry : entries) sizes_.push_back(bytes_of(entry));
  file_.write(std::as_bytes(std::span(head)));
  pad(static_cast<int64_t>(head.size()));
  skip_empty();
}

// Tensors without elements are written as soon as it is their turn.
void GgufWriter::skip_empty() {
  while (tensor_ < sizes_.size() && sizes_[tensor_] == 0) ++tensor_;
}

// `written` bytes end here; what comes next starts at a multiple of the alignment.
void GgufWriter::pad(int64_t written) {
  static constexpr std::byte zeros[kAlignment] = {};
  file_.write(std::span(zeros).first(static_cast<size_t>(aligned(written) - written)));
}

void GgufWriter::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  CHECK(tensor_ < sizes_.size() && done_ + std::ssize(bytes) <= sizes_[tensor_], "more values than were announced");
  file_.write(bytes);
  done_ += std::ssize(bytes);
  if (done_ < sizes_[tensor_]) return;
  pad(done_);
  done_ = 0;
  ++tensor_;
  skip_empty();
}

void GgufWriter::finish() {
  CHECK(tensor_ == sizes_.size(), "{} tensors of {} were written", tensor_, sizes_.size());
  file_.finish();
}

}  // namespace cachalot
