// Calls that a model writes as JSON objects: {"name": …, "arguments": {…}}.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/chat/calls/call_reader.h"
#include "text/chat/calls/json_scanner.h"

namespace cachalot {

// What the member "arguments" of a call says: the object as the model wrote it, or as a string that holds it; absent
// or null there are none. No value when it is something else.
std::optional<std::string> arguments_text(std::string_view json);

// What stands before and behind a call, or a list of them. "{" is the object itself; behind nothing may be missing.
struct JsonTags {
  std::string_view open, close;
  // Other text may look like that: only what names an offered tool and its arguments is a call.
  bool doubtful = false;
};

// {"name": …, "arguments": {…}}, one or several, or a list of such objects, between tags. "parameters" is another
// name of "arguments".
class JsonReader : public CallReader {
 public:
  // Borrows both; none of the opening tags begins another.
  JsonReader(std::span<const JsonTags> tags, const Tools& tools) : all_tags_(tags), tools_(tools) {}

  Reading read(std::string_view text, bool ended) override;
  size_t read_bytes() const override { return read_bytes_; }
  std::vector<ToolCall> take_calls() override { return std::move(calls_); }

 private:
  Reading read_value(std::string_view text, bool ended);
  Reading close(std::string_view text, bool ended);
  bool may_be_call(std::string_view json) const;
  bool read_calls(std::string_view json);
  bool add_call(std::string_view object, const JsonScanner& scanned);

  std::span<const JsonTags> all_tags_;
  const Tools& tools_;
  const JsonTags* tags_ = nullptr;
  size_t json_begin_ = 0, read_bytes_ = 0;
  bool begun_ = false, goes_on_ = false;  // goes on: with another object behind the one that was read
  JsonScanner scanner_;
  std::vector<ToolCall> calls_;
};

}  // namespace cachalot
