// tokenizer.json, byte for byte from the fuzzer, up to a NUL and then tokenizer_config.json, or else a qwen.tiktoken;
// what loads has to encode and decode too.
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "formats/huggingface/tiktoken.h"
#include "formats/huggingface/tokenizer.h"
#include "text/tokenizer/stream_decoder.h"
#include "text/tokenizer/tokenizer.h"
#include "text/unicode.h"

using namespace cachalot;

static void use(const Tokenizer& tokenizer, std::string_view text, bool special) {
  try {
    const auto ids = tokenizer.encode_with_bos(text, special);
    StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const int id : ids) streamed += stream.push(id);
    streamed += stream.flush();
    if (streamed != tokenizer.decode(ids) || !is_valid_utf8(streamed)) std::abort();
  } catch (const Error&) {
    // A byte without a token, or an expression out of steps: a message, and no more.
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const bool is_tiktoken = size > 0 && std::isalnum(data[0]);  // no JSON object begins so
  const size_t cut = std::min(input.find('\0'), size);
  const std::string_view config = input.substr(std::min(cut + 1, size));
  try {
    const Tokenizer tokenizer(is_tiktoken ? parse_qwen_tiktoken(input, "fuzz")
                                          : parse_hf_vocabulary(input.substr(0, cut), config, "fuzz"));
    use(tokenizer, "ab <s>Ab12  \r\n e\xCC\x81.\xFF's", true);
    use(tokenizer, input.substr(0, 200), false);
  } catch (const Error&) {}
  return 0;
}
