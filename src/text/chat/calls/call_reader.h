// Reads a call of a tool from a text that is still growing. What every form of calls (reply_format.h) has to know.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/reply_format.h"
#include "text/chat/tools.h"

namespace cachalot {

struct ToolCall {
  std::string name;
  std::string arguments;  // the text of a JSON object
};

enum class Reading { open, whole, malformed };

class CallReader {
 public:
  virtual ~CallReader() = default;
  // Reads on. The text begins where the call does, and is longer than it was before, if anything; `ended`: it does
  // not go on, so the answer is not `open`.
  virtual Reading read(std::string_view text, bool ended) = 0;
  // Of the text: up to here it is the call, or it was read to find that it is none.
  virtual size_t read_bytes() const = 0;
  // When whole: at least one.
  virtual std::vector<ToolCall> take_calls() = 0;
};

// How calls of one form are marked and read.
struct CallSyntax {
  std::vector<std::string_view> begins;  // what a call may begin with; each begins with '<'
  std::vector<std::string_view> closes;  // what stands behind calls and belongs to them
  std::vector<std::string_view> inner;   // other tags
  std::vector<std::string_view> bare;  // what one may begin with, too, where content begins or another call has ended
  bool quoted = true;                  // values are, so a tag that ends reasoning may stand in one
  // Borrows the tools.
  std::unique_ptr<CallReader> (*reader)(const Tools& tools);
};

// The form must not be `none`.
const CallSyntax& call_syntax(CallForm form);

}  // namespace cachalot
