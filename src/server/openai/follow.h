// From running requests to the client: one JSON object when all is said, or server-sent events meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "server/api_error.h"
#include "server/http.h"
#include "server/openai/asked.h"
#include "server/runs.h"

namespace cachalot::openai {

// While nothing can be said, a comment says that somebody is there: clients give up on a silent connection.
constexpr std::chrono::milliseconds kQuiet{8'000};

// How an endpoint tells what it hears. Choices are the members of "choices".
class Teller {
 public:
  virtual ~Teller() = default;
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
};

// Starts the runs and tells of them until all have ended. Throws ApiError, Error, Busy and
// http::ClientGone.
void follow(http::Exchange& exchange, const Asked& asked, std::vector<Run> runs, Generator& generator, Teller& teller,
            RequestNotes& notes);

// Does the work of an endpoint. What it throws when a stream has begun becomes the last event of the stream, but for
// http::ClientGone.
void guarded(http::Exchange& exchange, RequestNotes& notes, const std::function<void()>& work);

// 96 random bits, in hex.
std::string random_id();
// The ids of these tokens, and of the one that ended the answer.
std::vector<int32_t> token_ids(const std::vector<ReplyToken>& tokens, const std::optional<ReplyEnd>& end);
// "stop", "length"; an answer that ended otherwise has no reason, since it is an error.
std::string_view finish_reason(const ReplyEnd& end);
// The stop text, or the id of the token that was asked to end the answer, or null.
Json stop_reason(const ReplyEnd& end, const Asked& asked);

}  // namespace cachalot::openai
