#include "cli/answer_printer.h"

#include <fmt/format.h>

namespace cachalot {

AnswerPrinter::AnswerPrinter()
    : reasoning_stream_(is_terminal(stdout)   ? stdout
                        : is_terminal(stderr) ? stderr
                                              : nullptr) {
  if (reasoning_stream_) style_ = style_of(reasoning_stream_);
}

AnswerSink AnswerPrinter::sink() {
  return {.reasoning = [this](std::string_view piece) { reasoning(piece); },
          .text = [this](std::string_view piece) { text(piece); }};
}

void AnswerPrinter::reasoning(std::string_view piece) {
  if (!reasoning_stream_) return;
  if (!in_reasoning_) fmt::print(reasoning_stream_, "{}", style_.dim.empty() ? "(thinking)\n" : style_.dim);
  in_reasoning_ = true;
  fmt::print(reasoning_stream_, "{}", printable(piece));
  std::fflush(reasoning_stream_);
}

void AnswerPrinter::end_reasoning() {
  if (!in_reasoning_) return;
  in_reasoning_ = false;
  fmt::print(reasoning_stream_, "{}\n{}\n", style_.plain, style_.dim.empty() ? "(answer)" : "");
  std::fflush(reasoning_stream_);
}

void AnswerPrinter::text(std::string_view piece) {
  end_reasoning();
  print_text(piece);
  std::fflush(stdout);
  if (!piece.empty()) last_ = piece.back();
}

void AnswerPrinter::finish() {
  end_reasoning();
  if (last_ != '\n') print_text("\n");
  std::fflush(stdout);
}

}  // namespace cachalot
