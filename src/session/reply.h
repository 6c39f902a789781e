// The answers to one request while the engine makes them: from its events to what every dialect tells of them.
//
//   Reply reply(tokenizer, prompt, {.answers = 2, .text = {.stops = {"\n\n"}}});
//   for each event of the request:
//     if (const auto news = reply.push(event)) …
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "session/answer.h"

namespace cachalot {

// A token of an answer, told together with the last of its text: so what tokens were told makes up the text that was
// told, but for tags and calls, and for what is dropped next to them. A token that gives no text (a special one) is
// told with the next that does. Where a stop text begins, the answer ends: a token that begins before it is told,
// also where some of its text is cut off, and none that begins there or behind it.
struct ReplyToken {
  int32_t token;
  std::vector<TokenLogprob> logprobs;  // its own, then the likeliest's; empty unless the request asks for them
  size_t begin;                        // where its text begins in that of all tokens, in bytes; tags count
  bool reasoning;                      // all of its text is reasoning, or a tag around it
};

struct ReplyEnd {
  FinishReason reason;                 // also `stop` where a stop text was found, or the one call
  std::string stop_text;               // the one that was found; "" where there is none
  std::optional<int32_t> stop_token;   // the one that ended the answer
  std::vector<TokenLogprob> logprobs;  // of stop_token
  std::string error;                   // with FinishReason::error
};

// What one event makes known.
struct ReplyNews {
  int answer;
  ReplyParts parts;  // reasoning, content and calls, in the order in which the model wrote them
  std::vector<ReplyToken> tokens;
  std::optional<ReplyEnd> end;
};

struct ReplyUsage {
  int prompt_tokens = 0, cached_tokens = 0;
  // Of all answers, without tokens that ended one, and with those that a stop text cut off.
  int completion_tokens = 0;
  int reasoning_tokens = 0;  // of these, up to the tag that ends the reasoning
};

struct ReplyOptions {
  int answers = 1;
  AnswerText text;
  bool one_call = false;  // an answer ends behind its first call of a tool, as where a stop text begins
};

class Reply {
 public:
  // Borrows the tokenizer.
  Reply(const Tokenizer& tokenizer, const Prompt& prompt, const ReplyOptions& options);

  // None when the event says nothing yet, or is of an answer that has ended. When there is an end that the event does
  // not have, a stop text was found, or the one call, and the engine is to be told that nothing more is wanted of
  // this answer.
  std::optional<ReplyNews> push(const Event& event);
  bool ended() const { return running_ == 0; }
  const ReplyUsage& usage() const { return usage_; }
  // Of the prompt, where that was asked for, once it has ended.
  const std::vector<float>& embedding() const { return embedding_; }
  // Of the prompt's first tokens, as far as they have come (Event::prompt_logprobs).
  const std::vector<std::vector<TokenLogprob>>& prompt_logprobs() const { return prompt_logprobs_; }

 private:
  struct Waiting {  // a token that is not told yet
    int32_t token;
    std::vector<TokenLogprob> logprobs;
    size_t begin;
    std::optional<size_t> end;  // none: within a character
  };
  struct Answer {
    AnswerStream stream;
    std::deque<Waiting> waiting;
    bool ended = false;
  };
  void take(Answer& answer, const Event& event, ReplyNews& news);
  void finish(Answer& answer, ReplyNews& news);
  void tell_first(Answer& answer, ReplyNews& news);

  std::vector<Answer> answers_;
  int running_;
  ReplyUsage usage_;
  std::vector<std::vector<TokenLogprob>> prompt_logprobs_;
  std::vector<float> embedding_;
};

}  // namespace cachalot
