// DeepSeek's calls:
//   V3, R1 and what was distilled from it:
//     <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME⏎```json⏎{…}⏎```<｜tool▁call▁end｜>…<｜tool▁calls▁end｜>
//   V3.1:
//     <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>…<｜tool▁calls▁end｜>
// Distilled models have no tokens of these tags: they spell them, and spell the first in some other ways. They may
// leave out the tags around all calls.
#include "text/chat/calls/cursor.h"
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_calls.h"

namespace cachalot {
namespace {

constexpr std::string_view kOneCall = "<｜tool▁call▁begin｜>", kOneCallEnd = "<｜tool▁call▁end｜>",
                           kSeparator = "<｜tool▁sep｜>", kAllCallsEnd = "<｜tool▁calls▁end｜>", kFence = "```",
                           kFenceBegin = "\n```json\n";
constexpr std::string_view kAllCalls[] = {"<｜tool▁calls▁begin｜>", "<｜tool_calls_begin｜>",
                                          "<｜tool calls begin｜>", "<｜tool\\_calls\\_begin｜>", "<｜tool▁calls｜>"};

// Goes behind `end`; what stands before it, on one line, is the word.
Found take_word(Cursor& cursor, std::string_view end, std::string_view& word) {
  const size_t most = kMostNameBytes + end.size();
  const std::string_view rest = cursor.rest().substr(0, most);
  const size_t at = rest.find(end);
  if (at == rest.npos) return rest.size() < most ? Found::open : Found::no;
  word = rest.substr(0, at);
  cursor.move(at + end.size());
  return word.empty() || word.find('\n') != word.npos ? Found::no : Found::yes;
}

class DeepseekReader : public CallReader {
 public:
  explicit DeepseekReader(bool fenced) : fenced_(fenced) {}

  Reading read(std::string_view text, bool ended) override {
    if (json_begin_ == 0) {
      Cursor cursor(text, 0, ended);
      const Found found = read_head(cursor);
      if (found != Found::yes) return found == Found::open && !ended ? Reading::open : Reading::malformed;
      json_begin_ = cursor.at();
    }
    const Reading scanned = scanner_.read(text.substr(json_begin_));
    read_bytes_ = json_begin_ + scanner_.read_bytes();
    if (scanned != Reading::whole) return ended ? Reading::malformed : scanned;
    Cursor cursor(text, read_bytes_, ended);
    const Found closed = read_end(cursor);
    if (closed == Found::open && !ended) return Reading::open;
    auto arguments =
        closed != Found::no ? arguments_text(text.substr(json_begin_, scanner_.read_bytes())) : std::nullopt;
    if (!arguments) return Reading::malformed;
    arguments_ = std::move(*arguments);
    read_bytes_ = closed == Found::yes ? cursor.at() : text.size();
    return Reading::whole;
  }
  size_t read_bytes() const override { return read_bytes_; }
  std::vector<ToolCall> take_calls() override {
    return {{.name = std::move(name_), .arguments = std::move(arguments_)}};
  }

 private:
  // Up to the JSON object.
  Found read_head(Cursor& cursor) {
    Found found = cursor.take_any(kAllCalls);
    if (found == Found::open) return found;
    found = cursor.take_spaced(kOneCall);
    std::string_view name, kind;
    if (found == Found::yes && fenced_) found = take_word(cursor, kSeparator, kind);
    if (found == Found::yes) found = take_word(cursor, fenced_ ? kFenceBegin : kSeparator, name);
    if (found == Found::yes) found = cursor.take_spaces();
    name_ = name;
    return found;
  }
  // Behind it. What the end of the answer cuts off is `open`.
  Found read_end(Cursor& cursor) const {
    if (fenced_) {
      const Found fence = cursor.take_spaced(kFence);
      if (fence != Found::yes) return fence;
    }
    return cursor.take_spaced(kOneCallEnd);
  }

  bool fenced_;
  size_t json_begin_ = 0, read_bytes_ = 0;
  std::string name_, arguments_;
  JsonScanner scanner_;
};

template <bool fenced>
CallSyntax deepseek_syntax() {
  CallSyntax syntax{
      .begins = {kOneCall},
      .closes = {kOneCallEnd, kAllCallsEnd},
      .inner = {kSeparator},
      .reader = [](const Tools&) -> std::unique_ptr<CallReader> { return std::make_unique<DeepseekReader>(fenced); }};
  syntax.begins.insert(syntax.begins.end(), std::begin(kAllCalls), std::end(kAllCalls));
  return syntax;
}

}  // namespace

const CallSyntax kDeepseekV3Calls = deepseek_syntax<true>(), kDeepseekV31Calls = deepseek_syntax<false>();

}  // namespace cachalot
