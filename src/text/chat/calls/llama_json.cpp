// Llama 3: an answer that begins with {"name": …, "parameters": {…}}, perhaps behind <|python_tag|>; several of them
// stand side by side, with semicolons or white space between. What begins so and names no arguments is text, as is
// what names a tool that is not offered, unless the tag stands before it.
#include "text/chat/calls/cursor.h"
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_calls.h"

namespace cachalot {
namespace {

constexpr std::string_view kPythonTag = "<|python_tag|>";

class LlamaJsonReader : public CallReader {
 public:
  explicit LlamaJsonReader(const Tools& tools) : tools_(tools) {}

  Reading read(std::string_view text, bool ended) override {
    if (!begun_) {
      Cursor cursor(text, 0, ended);
      tagged_ = cursor.take(kPythonTag) == Found::yes;
      const Found found = cursor.take_spaces();
      if (found != Found::yes) return found == Found::open ? Reading::open : Reading::malformed;
      json_begin_ = cursor.at();
      begun_ = true;
    }
    const std::string_view json = text.substr(json_begin_);
    const Reading scanned = scanner_.read(json);
    if (scanned == Reading::open) return ended ? Reading::malformed : scanned;
    if (scanned == Reading::malformed) return scanned;
    calls_ = calls_of_json(json, scanner_, /*complete=*/true);
    for (const ToolCall& call : calls_)
      if (!tagged_ && !tools_.has(call.name)) return Reading::malformed;
    return calls_.empty() ? Reading::malformed : Reading::whole;
  }
  size_t read_bytes() const override { return json_begin_ + scanner_.read_bytes(); }
  std::vector<ToolCall> take_calls() override { return std::move(calls_); }

 private:
  const Tools& tools_;
  bool begun_ = false, tagged_ = false;
  size_t json_begin_ = 0;
  JsonScanner scanner_;
  std::vector<ToolCall> calls_;
};

}  // namespace

const CallSyntax kLlamaJsonCalls = {.begins = {kPythonTag},
                                    .closes = {";"},
                                    .inner = {},
                                    .bare = true,
                                    .reader = [](const Tools& tools) -> std::unique_ptr<CallReader> {
                                      return std::make_unique<LlamaJsonReader>(tools);
                                    }};

}  // namespace cachalot
