// Answers as choices: what chat and completions have in common, one JSON object or a stream of chunks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/dialect/follow.h"
#include "server/openai/fields.h"

namespace cachalot::openai {

class ChoiceTeller : public Teller {
 public:
  explicit ChoiceTeller(const AskedChoices& asked) : choices_asked_(asked) {}

  void begin(EventStream&) override;
  void tell(const RunNews& news, const Runs& runs, EventStream& events) override;
  void end(const Runs& runs, EventStream& events) override;
  void fail(const ApiError& error, EventStream& events) override;
  std::string whole(std::vector<RunNews> all, const Runs& runs) override;

 protected:
  virtual std::string_view id_prefix() const = 0;  // "chatcmpl-"
  virtual std::string_view object(bool chunk) const = 0;
  // A stream's first choices, told before the first news.
  virtual Json beginning() = 0;
  // What the news become in a stream: choices, each of a chunk of its own.
  virtual Json chunks(const RunNews& news, const Reply& reply) = 0;
  // The whole answer: `news` hold all of it.
  virtual Json choice(const RunNews& news, const Reply& reply) = 0;
  // Beside the choices: the tokens of the one prompt of all, where they are told so; else null.
  virtual Json prompt_token_ids() const { return nullptr; }

 private:
  Json envelope(bool chunk) const;
  void add(Json choices, const Runs& runs, EventStream& events);

  const AskedChoices& choices_asked_;
  Json envelope_;   // of all chunks
  Json prompt_;     // token ids, in the first chunk alone
  Json beginning_;  // that is not told yet
};

// The ids of these tokens, and of the one that ended the answer.
std::vector<int32_t> token_ids(const std::vector<ReplyToken>& tokens, const std::optional<ReplyEnd>& end);
// The stop text, or the id of the token that was asked to end the answer, or null.
Json stop_reason(const ReplyEnd& end, const Asked& asked);

}  // namespace cachalot::openai
