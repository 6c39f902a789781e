#include "cli/generate.h"

#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "cli/terminal.h"
#include "text/chat/chat_prompt.h"
#include "text/chat/reasoning.h"
#include "text/chat/stop_strings.h"
#include "text/tokenizer/stream_decoder.h"

namespace cachalot {

Prompt chat_prompt(const TextModel& text, const nlohmann::ordered_json& variables) {
  if (!text.chat_template) throw Error("the checkpoint has no chat template").hint("complete text with `run --raw`");
  ChatPrompt prompt = encode_chat(text.tokenizer, *text.chat_template, variables);
  return {.tokens = std::move(prompt.tokens), .chat = true, .opens_reasoning = prompt_opens_reasoning(prompt.text)};
}

Prompt raw_prompt(const TextModel& text, std::string_view prompt) {
  Prompt raw{.tokens = text.tokenizer.encode_with_bos(prompt)};
  warn_of_second_bos(text.tokenizer, raw.tokens);
  return raw;
}

void warn_of_second_bos(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  const auto bos = tokenizer.bos();
  if (!bos || !tokenizer.adds_bos() || tokens.size() < 2 || tokens[0] != *bos || tokens[1] != *bos) return;
  warn("the text begins with the BOS token {}, and the tokenizer puts one before it: now there are two; leave it out",
       quote(tokenizer.bytes(*bos)));
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Tokens in; text and reasoning out, to the sink and into the answer.
class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const Prompt& prompt, std::vector<std::string> stops, const AnswerSink& sink,
             Answer& answer)
      : decoder_(tokenizer, /*skip_special=*/true),
        stops_(std::move(stops)),
        splitter_(prompt.opens_reasoning),
        split_(prompt.chat),
        sink_(sink),
        answer_(answer) {}

  void push(int32_t token) { hand_on(stops_.push(decoder_.push(token))); }
  void finish() {
    hand_on(stops_.push(decoder_.flush()));
    hand_on(stops_.flush());
    if (split_) emit(splitter_.flush());
  }
  bool stopped() const { return stops_.found(); }

 private:
  void hand_on(const std::string& piece) {
    if (piece.empty()) return;
    if (split_)
      emit(splitter_.push(piece));
    else
      emit({.reasoning = "", .content = piece});
  }
  void emit(const SplitReply& piece) {
    if (!piece.reasoning.empty()) sink_.reasoning(piece.reasoning);
    if (!piece.content.empty()) sink_.text(piece.content);
    answer_.reasoning += piece.reasoning;
    answer_.text += piece.content;
  }

  StreamDecoder decoder_;
  StopStrings stops_;
  ReasoningSplitter splitter_;
  bool split_;
  const AnswerSink& sink_;
  Answer& answer_;
};

}  // namespace

Answer generate(Engine& engine, const LoadedModel& model, const Prompt& prompt, const AnswerOptions& o,
                const AnswerSink& sink, const Interrupt& interrupt) {
  Answer answer;
  answer.prompt_tokens = static_cast<int>(prompt.tokens.size());
  TextStream stream(model.text->tokenizer, prompt, o.stops, sink, answer);

  const auto start = Clock::now();
  auto first = start, last = start;  // of the predictions
  const RequestId id = engine.submit({.prompt = prompt.tokens,
                                      .sampling = o.sampling,
                                      .max_tokens = o.max_tokens,
                                      .end_tokens = model.defaults.end_tokens});
  while (!engine.idle()) {
    if (interrupt.requested()) engine.cancel(id);
    for (const Event& event : engine.step()) {
      if (event.token || event.finished == FinishReason::stop) {
        last = Clock::now();
        if (first == start) first = last;
      }
      if (event.token && !stream.stopped()) {
        answer.tokens.push_back(*event.token);
        stream.push(*event.token);
      }
      answer.cached_tokens = event.cached_tokens;
      answer.drafted += event.drafted;
      answer.accepted += event.accepted;
      if (event.finished) answer.finish = *event.finished;
      if (event.finished == FinishReason::error) throw Error(event.error);
      if (stream.stopped() && !event.finished) engine.cancel(id);
    }
  }
  stream.finish();
  if (stream.stopped()) answer.finish = FinishReason::stop;
  answer.prefill_s = seconds(start, first);
  answer.decode_s = seconds(first, last);
  return answer;
}

std::string statistics(const Answer& answer, const EngineOptions& engine) {
  std::string text = fmt::format("{} prompt tokens", answer.prompt_tokens);
  if (answer.cached_tokens > 0) text += fmt::format(" ({} known)", answer.cached_tokens);
  if (answer.prefill_s > 0) text += fmt::format(" at {} tokens/s", rate_text(answer.prefill_tokens_per_s()));
  text += fmt::format(", {} tokens", answer.tokens.size());
  if (answer.tokens.size() > 1) text += fmt::format(" at {} tokens/s", rate_text(answer.decode_tokens_per_s()));
  if (answer.drafted > 0)
    text += fmt::format(" ({} of {} drafts accepted, {:.0f} %)", answer.accepted, answer.drafted,
                        100.0 * answer.accepted / answer.drafted);
  const bool full = answer.prompt_tokens + static_cast<int>(answer.tokens.size()) >= engine.context;
  if (answer.finish == FinishReason::length)
    text += full ? fmt::format("; cut off: the context of {} tokens is full", engine.context)
                 : "; cut off by --max-tokens";
  if (answer.finish == FinishReason::length && answer.text.empty() && !answer.reasoning.empty())
    text += " while reasoning, before the answer";
  if (answer.finish == FinishReason::cancelled) text += "; stopped by Ctrl-C";
  return text;
}

}  // namespace cachalot
