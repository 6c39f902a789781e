#include "session/answer.h"

#include <chrono>

#include "base/error.h"

namespace cachalot {

SplitReply AnswerStream::push(int32_t token) {
  ++tokens_;
  return take(decoder_.push(token), tokens_ > min_tokens_);
}

SplitReply AnswerStream::take(const std::string& decoded, bool look_for_stops) {
  if (stopped()) return {};
  decoded_ += decoded.size();
  std::string passed = look_for_stops ? stops_.push(decoded) : decoded;
  if (stopped() && include_stop_) passed += stop_text();
  return split(passed);
}

SplitReply AnswerStream::split(const std::string& piece) {
  passed_ += piece.size();
  if (!split_) {
    content_begin_ = 0;
    return {.reasoning = "", .content = piece};
  }
  if (piece.empty()) return {};
  SplitReply reply = splitter_.push(piece);
  if (!content_begin_ && splitter_.in_content()) content_begin_ = passed_ - reply.content.size();
  return reply;
}

SplitReply AnswerStream::finish() {
  SplitReply all;
  const auto add = [&](const SplitReply& more) {
    all.reasoning += more.reasoning;
    all.content += more.content;
  };
  add(take(decoder_.flush(), tokens_ > min_tokens_));
  if (!stopped()) {
    std::string rest = stops_.flush();
    if (stopped() && include_stop_) rest += stop_text();
    add(split(rest));
  }
  if (!split_) return all;
  if (!content_begin_ && !splitter_.in_reasoning()) content_begin_ = certain();
  add(splitter_.flush());
  return all;
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void hand_on(const SplitReply& piece, const AnswerSink& sink, Answer& answer) {
  if (!piece.reasoning.empty() && sink.reasoning) sink.reasoning(piece.reasoning);
  if (!piece.content.empty() && sink.text) sink.text(piece.content);
  answer.reasoning += piece.reasoning;
  answer.text += piece.content;
}

}  // namespace

Answer answer(Engine& engine, const LoadedModel& model, const Prompt& prompt, const AnswerOptions& o,
              const AnswerSink& sink, const std::function<bool()>& cancelled) {
  Answer answer;
  answer.prompt_tokens = static_cast<int>(prompt.tokens.size());
  AnswerStream stream(model.text->tokenizer, prompt, {.stops = o.stops});

  const auto start = Clock::now();
  auto first = start, last = start;  // of the predictions
  const RequestId id = engine.submit({.prompt = prompt.tokens,
                                      .sampling = o.sampling,
                                      .max_tokens = o.max_tokens,
                                      .end_tokens = model.defaults.end_tokens,
                                      .absorbed = prompt.answers});
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
