#include "formats/safetensors/writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"

namespace cachalot {

namespace fs = std::filesystem;

static std::string_view format_name(DType type) {
  switch (type) {
    case DType::f32: return "F32";
    case DType::f16: return "F16";
    case DType::bf16: return "BF16";
    case DType::f64: return "F64";
    case DType::i8: return "I8";
    case DType::i16: return "I16";
    case DType::i32: return "I32";
    case DType::i64: return "I64";
    case DType::u8: return "U8";
    case DType::boolean: return "BOOL";
    case DType::f8_e4m3: return "F8_E4M3";
    case DType::f8_e5m2: return "F8_E5M2";
    default: break;
  }
  CHECK(false, "safetensors has no type {}", name(type));
}

// The header with its length in front, padded with spaces so that the values start at a multiple of 8.
static std::string header(const std::vector<SafetensorsWriter::Entry>& entries,
                          const std::map<std::string, std::string>& metadata, int64_t& data_bytes) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  data_bytes = 0;
  for (const auto& entry : entries) {
    CHECK(!json.contains(entry.name), "two tensors are called '{}'", entry.name);
    int64_t bytes = info(entry.dtype).block_bytes;
    for (const int64_t size : entry.shape) bytes *= size;
    json[entry.name] = {{"dtype", format_name(entry.dtype)},
                        {"shape", entry.shape},
                        {"data_offsets", {data_bytes, data_bytes + bytes}}};
    data_bytes += bytes;
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  uint64_t length = text.size();
  std::string out(8, '\0');
  for (char& byte : out) {
    byte = static_cast<char>(length & 0xff);
    length >>= 8;
  }
  return out + text;
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<Entry>& entries,
                                     const std::map<std::string, std::string>& metadata, WholeFile::Inputs inputs)
    : file_(path, WholeFile::Existing::replace, inputs) {
  const std::string head = header(entries, metadata, bytes_left_);
  file_.write(std::as_bytes(std::span(head)));
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  CHECK(static_cast<int64_t>(bytes.size()) <= bytes_left_, "more values than the header announced");
  file_.write(bytes);
  bytes_left_ -= static_cast<int64_t>(bytes.size());
}

void SafetensorsWriter::finish() {
  CHECK(bytes_left_ == 0, "{} bytes are missing", bytes_left_);
  file_.finish();
}

}  // namespace cachalot
