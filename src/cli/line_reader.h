// Lines that a person types: with editing and history on a terminal, plain lines from anything else.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace cachalot {

class LineReader {
 public:
  LineReader();
  ~LineReader();

  struct Line {
    std::string text;
    bool cancelled = false;  // Ctrl-C at the prompt: the line is to be forgotten
  };
  // The next line without its end; none at the end of input (Ctrl-D). `prompt` is shown on a terminal only.
  // A line that ends in a backslash goes on with the next one.
  std::optional<Line> read(const std::string& prompt);

  bool interactive() const { return editor_ != nullptr; }

 private:
  struct Editor;
  std::optional<Line> read_plain();
  std::unique_ptr<Editor> editor_;  // nullptr without a terminal
};

}  // namespace cachalot
