#include "cli/answer_printer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace cachalot {

// JSON that was written over several lines. Its strings hold no line breaks.
static std::string on_one_line(std::string_view json) {
  constexpr std::string_view kSpaces = " \t\r\n";
  std::string line;
  while (true) {
    const size_t end = json.find('\n'), next = json.find_first_not_of(kSpaces, std::min(end, json.size()));
    line += json.substr(0, end);
    if (next == json.npos) return line;
    line.erase(line.find_last_not_of(kSpaces) + 1);
    const bool within = line.ends_with('{') || line.ends_with('[') || json[next] == '}' || json[next] == ']';
    if (!within) line += ' ';
    json.remove_prefix(next);
  }
}

AnswerPrinter::AnswerPrinter()
    : reasoning_stream_(is_terminal(stdout)   ? stdout
                        : is_terminal(stderr) ? stderr
                                              : nullptr) {
  if (reasoning_stream_) style_ = style_of(reasoning_stream_);
}

void AnswerPrinter::put_reasoning(std::string_view text) {
  if (reasoning_stream_ == stderr) return say(text);
  print_text_as_it_is(text);
  flush_text();
}

AnswerSink AnswerPrinter::sink() {
  return {.reasoning = [this](std::string_view piece) { reasoning(piece); },
          .text = [this](std::string_view piece) { text(piece); },
          .call = [this](const ReplyPart& part) { call(part); }};
}

void AnswerPrinter::reasoning(std::string_view piece) {
  if (!reasoning_stream_) return;
  if (!in_reasoning_) put_reasoning(style_.dim.empty() ? "(thinking)\n" : style_.dim);
  in_reasoning_ = true;
  put_reasoning(printable(piece));
}

void AnswerPrinter::end_reasoning() {
  if (!in_reasoning_) return;
  in_reasoning_ = false;
  put_reasoning(fmt::format("{}\n{}\n", style_.plain, style_.dim.empty() ? "(answer)" : ""));
}

void AnswerPrinter::text(std::string_view piece) {
  end_reasoning();
  print_text(piece);
  flush_text();
  if (!piece.empty()) last_ = piece.back();
}

void AnswerPrinter::call(const ReplyPart& call) {
  text(fmt::format("{}{}({})\n", last_ == '\n' ? "" : "\n", call.name, on_one_line(call.text)));
}

void AnswerPrinter::finish() {
  end_reasoning();
  if (last_ != '\n') print_text("\n");
  flush_text();
}

}  // namespace cachalot
