#include "session/answer.h"

#include <chrono>

#include "base/error.h"
#include "session/thinking_budget.h"

namespace cachalot {

AnswerStream::AnswerStream(const Tokenizer& tokenizer, const Prompt& prompt, AnswerText how, bool one_call)
    : decoder_(tokenizer, how.skip_special, prompt.reply_tags),
      stops_(std::move(how.stops)),
      min_tokens_(how.min_tokens),
      include_stop_(how.include_stop) {
  if (!prompt.reply) return;
  ReplySyntax syntax = *prompt.reply;
  syntax.one_call = one_call;
  parser_.emplace(std::move(syntax));
}

ReplyParts AnswerStream::push(int32_t token) {
  ++tokens_;
  return take(decoder_.push(token), tokens_ > min_tokens_);
}

ReplyParts AnswerStream::take(const std::string& decoded, bool look_for_stops) {
  if (stopped()) return {};
  decoded_ += decoded.size();
  std::string passed = look_for_stops ? stops_.push(decoded) : decoded;
  if (stopped() && include_stop_) passed += stop_text();
  return parse(passed);
}

ReplyParts AnswerStream::parse(const std::string& piece) {
  passed_ += piece.size();
  if (piece.empty()) return {};
  if (parser_) return parser_->push(piece);
  return {{.kind = ReplyPart::Kind::content, .text = piece, .name = {}}};
}

ReplyParts AnswerStream::finish() {
  ReplyParts all = take(decoder_.flush(), tokens_ > min_tokens_);
  if (!stopped()) {
    std::string rest = stops_.flush();
    if (stopped() && include_stop_) rest += stop_text();
    append(all, parse(rest));
  }
  if (parser_) append(all, parser_->finish());
  return all;
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void hand_on(ReplyParts&& parts, const AnswerSink& sink, Answer& answer) {
  for (ReplyPart& part : parts) {
    switch (part.kind) {
      case ReplyPart::Kind::reasoning:
        if (sink.reasoning) sink.reasoning(part.text);
        answer.reasoning += part.text;
        break;
      case ReplyPart::Kind::content:
        if (sink.text) sink.text(part.text);
        answer.text += part.text;
        break;
      case ReplyPart::Kind::call:
        if (sink.call) sink.call(part);
        answer.calls.push_back(std::move(part));
        break;
    }
  }
}

}  // namespace

Answer answer(Engine& engine, const LoadedModel& model, const Prompt& prompt, const AnswerOptions& o,
              const AnswerSink& sink, const std::function<bool()>& cancelled) {
  Answer answer;
  answer.prompt_tokens = static_cast<int>(prompt.tokens.size());
  AnswerStream stream(model.text->tokenizer, prompt, {.stops = o.stops});

  const auto start = Clock::now();
  auto first = start, last = start;  // of the predictions
  Request request{.prompt = prompt.tokens,
                  .sampling = o.sampling,
                  .max_tokens = o.max_tokens,
                  .end_tokens = model.defaults.end_tokens,
                  .absorbed = prompt.answers};
  if (prompt.reasoning_tokens)
    limit_reasoning(request, *prompt.reasoning_tokens, model.text->tokenizer, model.text->reply,
                    prompt.reply && prompt.reply->starts_inside, model.transformer->spec().vocab);
  const RequestId id = engine.submit(request);
  for (bool finished = false; !finished;) {
    if (cancelled()) engine.cancel(id);
    for (const Event& event : engine.step()) {
      if (event.request != id) continue;
      if (event.token || event.finished == FinishReason::stop) {
        last = Clock::now();
        if (first == start) first = last;
      }
      if (event.token && !stream.stopped()) {
        answer.tokens.push_back(*event.token);
        hand_on(stream.push(*event.token), sink, answer);
      }
      answer.cached_tokens = event.cached_tokens;
      answer.drafted += event.drafted;
      answer.accepted += event.accepted;
      if (event.finished == FinishReason::error) throw Error(event.error);
      if (event.finished) answer.finish = *event.finished;
      finished = finished || event.finished;
      if (stream.stopped() && !event.finished) engine.cancel(id);
    }
  }
  hand_on(stream.finish(), sink, answer);
  if (stream.stopped()) answer.finish = FinishReason::stop;
  answer.prefill_s = seconds(start, first);
  answer.decode_s = seconds(first, last);
  return answer;
}

}  // namespace cachalot
