#include "session/reply.h"

#include <iterator>
#include <utility>

#include "base/check.h"
#include "text/unicode.h"

namespace cachalot {

Reply::Reply(const Tokenizer& tokenizer, const Prompt& prompt, const ReplyOptions& options)
    : running_(options.answers) {
  for (int i = 0; i < options.answers; ++i)
    answers_.push_back({.stream = AnswerStream(tokenizer, prompt, options.text, options.one_call), .waiting = {}});
  usage_.prompt_tokens = static_cast<int>(prompt.tokens.size());
}

std::optional<ReplyNews> Reply::push(const Event& event) {
  usage_.cached_tokens = event.cached_tokens;
  prompt_logprobs_.insert(prompt_logprobs_.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
  if (!event.embedding.empty()) embedding_ = event.embedding;
  CHECK(event.answer >= 0 && event.answer < std::ssize(answers_));
  Answer& answer = answers_[static_cast<size_t>(event.answer)];
  if (answer.ended) return std::nullopt;
  ReplyNews news{.answer = event.answer, .parts = {}, .tokens = {}, .end = {}};
  if (event.token) take(answer, event, news);
  if (answer.stream.stopped()) {
    news.end = ReplyEnd{.reason = FinishReason::stop, .stop_text = {}, .stop_token = {}, .logprobs = {}, .error = {}};
  } else if (event.finished) {
    news.end = ReplyEnd{.reason = *event.finished,
                        .stop_text = {},
                        .stop_token = event.end_token,
                        .logprobs = event.end_token ? event.logprobs : std::vector<TokenLogprob>(),
                        .error = event.error};
  }
  if (news.end) finish(answer, news);
  if (news.parts.empty() && news.tokens.empty() && !news.end) return std::nullopt;
  return news;
}

void Reply::take(Answer& answer, const Event& event, ReplyNews& news) {
  AnswerStream& stream = answer.stream;
  ++usage_.completion_tokens;
  const size_t begin = stream.decoded();
  answer.waiting.push_back({.token = *event.token, .logprobs = event.logprobs, .begin = begin, .end = {}});
  append(news.parts, stream.push(*event.token));
  // A character that was begun has ended, unless the token has brought less than its rest; so tokens within it end
  // where this one's text does, or before.
  if (stream.decoded() > begin)
    for (Waiting& waiting : answer.waiting)
      if (!waiting.end && &waiting != &answer.waiting.back()) waiting.end = stream.decoded();
  if (!stream.within_character()) answer.waiting.back().end = stream.decoded();
  if (stream.stopped()) return;
  const auto told = [&](const Waiting& w) {
    return w.end && *w.end <= stream.certain() && w.begin < stream.certain();
  };
  while (!answer.waiting.empty() && told(answer.waiting.front())) tell_first(answer, news);
}

void Reply::finish(Answer& answer, ReplyNews& news) {
  AnswerStream& stream = answer.stream;
  append(news.parts, stream.finish());
  if (stream.stopped()) {  // perhaps only now
    news.end->reason = FinishReason::stop;
    news.end->stop_text = stream.stop_text();
    news.end->stop_token.reset();
    news.end->logprobs.clear();
  }
  while (!answer.waiting.empty() && (!stream.stopped() || answer.waiting.front().begin < stream.certain()))
    tell_first(answer, news);
  answer.waiting.clear();
  answer.ended = true;
  --running_;
}

void Reply::tell_first(Answer& answer, ReplyNews& news) {
  Waiting& first = answer.waiting.front();
  const auto content = answer.stream.content_begin();
  const size_t end = first.end.value_or(answer.stream.decoded());
  const bool reasoning = !content || (end <= *content && first.begin < *content);
  usage_.reasoning_tokens += reasoning;
  news.tokens.push_back(
      {.token = first.token, .logprobs = std::move(first.logprobs), .begin = first.begin, .reasoning = reasoning});
  answer.waiting.pop_front();
}

}  // namespace cachalot
