// Shows an answer while it is made. Text goes to stdout, each call of a tool on a line of its own. Reasoning is shown
// dimmed and apart on stdout when that is a terminal, else on stderr when that is one, else not at all: a pipe gets
// the answer alone.
#pragma once

#include <string_view>

#include "cli/terminal.h"
#include "session/answer.h"

namespace cachalot {

class AnswerPrinter {
 public:
  AnswerPrinter();
  AnswerSink sink();  // borrows the printer
  // Ends the last line and any colour.
  void finish();

 private:
  void reasoning(std::string_view piece);
  void text(std::string_view piece);
  void call(const ReplyPart& call);
  void end_reasoning();
  void put_reasoning(std::string_view text);

  std::FILE* reasoning_stream_;  // nullptr: nowhere
  Style style_;
  bool in_reasoning_ = false;
  char last_ = '\n';  // of what was shown as text
};

}  // namespace cachalot
