// safetensors: what the reader accepts must be a tiling of the data.
#include "base/check.h"
#include "base/error.h"
#include "formats/safetensors/file.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto file = SafetensorsFile::parse(bytes, "fuzz.safetensors");
    const std::byte* end = nullptr;
    for (const SafetensorsEntry& tensor : file.tensors()) {
      CHECK(file.find(tensor.name) == &tensor);
      CHECK(end == nullptr || tensor.bytes.data() == end);
      end = tensor.bytes.data() + tensor.bytes.size();
      int64_t elements = 1;
      for (const int64_t length : tensor.shape) elements *= length;
      CHECK(tensor.dtype == DType::opaque ||
            elements * info(tensor.dtype).block_bytes == static_cast<int64_t>(tensor.bytes.size()));
    }
    CHECK(end == nullptr || end == bytes.data() + size);
  } catch (const Error&) {}
  return 0;
}
