#include "session/answer.h"

#include <chrono>

#include "base/error.h"

namespace cachalot {

SplitReply AnswerStream::split(const std::string& piece) {
  if (piece.empty()) return {};
  return split_ ? splitter_.push(piece) : SplitReply{.reasoning = "", .content = piece};
}

SplitReply AnswerStream::finish() {
  SplitReply all;
  const auto add = [&](const SplitReply& more) {
    all.reasoning += more.reasoning;
    all.content += more.content;
  };
  add(split(stops_.push(decoder_.flush())));
  add(split(stops_.flush()));
  if (split_) add(splitter_.flush());
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
  AnswerStream stream(model.text->tokenizer, prompt, o.stops);

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
