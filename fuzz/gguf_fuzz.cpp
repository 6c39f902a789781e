// GGUF: parsing, every getter on every key, the translation into a config, and the values of small tensors.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf/file.h"
#include "model/gguf_config.h"
#include "tensor/quant_blocks.h"

using namespace cachalot;

template <typename Action>
static void allow_error(Action action) {
  try {
    action();
  } catch (const Error&) {}
}

static void read_metadata(const GgufFile& file, size_t size_bytes) {
  for (const auto key : file.keys()) {
    CHECK(file.has(key));
    allow_error([&] { file.integer(key, INT64_MIN, INT64_MAX); });
    allow_error([&] { file.number(key); });
    allow_error([&] { file.boolean(key); });
    allow_error([&] { file.text(key); });
    allow_error([&] {
      size_t bytes = 0;
      for (const auto text : file.texts(key)) bytes += std::count(text.begin(), text.end(), 'a');
      CHECK(bytes <= size_bytes);
    });
    allow_error([&] { file.integers(key); });
    allow_error([&] { file.numbers(key); });
    allow_error([&] { file.booleans(key); });
  }
}

static void read_tensors(const GgufFile& file, const std::byte* begin, const std::byte* end) {
  std::vector<float> values;
  for (const GgufTensor& tensor : file.tensors()) {
    CHECK(file.find(tensor.name) == &tensor);
    CHECK(tensor.bytes.data() >= begin && tensor.bytes.data() + tensor.bytes.size() <= end);
    int64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= size;
    if (tensor.dtype == DType::opaque) continue;
    CHECK(row_bytes(tensor.dtype, elements) == static_cast<int64_t>(tensor.bytes.size()));
    if (!can_dequantize(tensor.dtype) || elements > 1 << 16) continue;
    values.resize(static_cast<size_t>(elements));
    dequantize(tensor.dtype, tensor.bytes, values);
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const GgufFile shards[] = {GgufFile::parse(bytes, "fuzz.gguf")};
    read_metadata(shards[0], size);
    read_tensors(shards[0], bytes.data(), bytes.data() + size);
    gguf_config(shards).json().dump();  // throws when a text is no UTF-8
  } catch (const Error&) {}
  return 0;
}
