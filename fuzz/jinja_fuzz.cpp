// Any bytes as a chat template: parsed, and run on a small conversation. It must end in text or in an Error.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "jinja/template.h"

namespace {

const nlohmann::ordered_json& variables() {
  static const auto json = nlohmann::ordered_json::parse(R"({
    "n": 5, "neg": -7, "f": 2.5, "t": true, "no": false, "nil": null, "big": 9223372036854775807,
    "s": "Hello World", "e": "", "u": "héllo 你好 😀", "l": [3, 1, 2], "ll": [[1, 2], [3, 4]], "mix": [1, "1", null, [1]],
    "d": {"b": 1, "a": [1, {"c": null}], "items": "key"},
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "<think>a</think>b"},
                 {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function":
                   {"name": "f", "arguments": {"x": 1.5}}}]}, {"role": "tool", "content": [{"type": "text", "text": "é"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "number"}}}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "enable_thinking": false})");
  return json;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cachalot::jinja::Limits limits;  // small, so that the fuzzer tries much
  limits.steps = 200'000;
  limits.bytes = 16 << 20;
  limits.text_bytes = 1 << 20;
  limits.items = 10'000;
  try {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    cachalot::jinja::Template(source).render(variables(), limits);
  } catch (const cachalot::Error&) {}
  return 0;
}
