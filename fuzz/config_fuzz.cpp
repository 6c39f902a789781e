// config.json, up to what the families and the reader of quantized weights make of it, and the weight map of an
// index.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/config.h"
#include "formats/huggingface/quantization.h"
#include "formats/json_text.h"
#include "formats/safetensors/file.h"
#include "model/family.h"

using namespace cachalot;

template <typename Action>
static void allow_error(Action action) {
  try {
    action();
  } catch (const Error&) {}
}

static void read_everything(const Config& config) {
  for (const auto& [key, value] : config.json().items()) {
    allow_error([&] { config.integer(key); });
    allow_error([&] { config.number(key); });
    allow_error([&] { config.boolean_or(key, false); });
    allow_error([&] { config.text(key); });
    allow_error([&] { config.texts(key); });
    allow_error([&] { config.integers(key); });
    allow_error([&] { config.numbers(key); });
    allow_error([&] {
      if (const auto object = config.object(key)) read_everything(*object);
    });
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  allow_error([&] { parse_weight_map(text, "fuzz.index.json"); });
  allow_error([&] {
    const Config config(parse_json(text, "fuzz.json"), "fuzz.json");
    read_everything(config);
    allow_error([&] { fp8_blocks(config); });
    family_of(config).spec(config);
  });
  return 0;
}
