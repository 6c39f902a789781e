// <tool_call>{"name": …, "arguments": {…}}</tool_call>, or a list of such objects.
#include "text/chat/calls/cursor.h"
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_calls.h"

namespace cachalot {
namespace {

class TaggedJsonReader : public CallReader {
 public:
  Reading read(std::string_view text, bool ended) override {
    if (json_begin_ == 0) {
      Cursor cursor(text, 0, ended);
      cursor.take(kToolCall);
      if (const Found found = cursor.take_spaces(); found != Found::yes)
        return found == Found::open ? Reading::open : Reading::malformed;
      json_begin_ = cursor.at();
    }
    const std::string_view json = text.substr(json_begin_);
    const Reading scanned = scanner_.read(json);
    read_bytes_ = json_begin_ + scanner_.read_bytes();
    if (scanned != Reading::whole) return ended ? Reading::malformed : scanned;
    return close(text, ended);
  }
  size_t read_bytes() const override { return read_bytes_; }
  std::vector<ToolCall> take_calls() override { return std::move(calls_); }

 private:
  // A call whose closing tag the end cuts off is whole, and one that the next call's tag follows.
  Reading close(std::string_view text, bool ended) {
    const size_t json_end = json_begin_ + scanner_.read_bytes();
    Cursor cursor(text, json_end, ended);
    if (const Found found = cursor.take_spaces(); found != Found::yes)
      return found == Found::open ? Reading::open : Reading::malformed;
    Cursor at_next = cursor;
    const Found closed = cursor.take(kToolCallEnd), next = at_next.take(kToolCall);
    if (closed == Found::no && next == Found::no) return Reading::malformed;
    if (closed != Found::yes && next != Found::yes && !ended) return Reading::open;
    read_bytes_ = closed == Found::yes ? cursor.at() : closed == Found::open ? text.size() : json_end;
    calls_ = calls_of_json(text.substr(json_begin_), scanner_);
    return calls_.empty() ? Reading::malformed : Reading::whole;
  }

  size_t json_begin_ = 0, read_bytes_ = 0;
  JsonScanner scanner_;
  std::vector<ToolCall> calls_;
};

}  // namespace

const CallSyntax kTaggedJsonCalls = {
    .begins = {kToolCall},
    .closes = {kToolCallEnd},
    .inner = {},
    .reader = [](const Tools&) -> std::unique_ptr<CallReader> { return std::make_unique<TaggedJsonReader>(); }};

}  // namespace cachalot
