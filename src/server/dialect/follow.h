// From running requests to the client: one JSON object when all is said, or server-sent events meanwhile.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/dialect/event_stream.h"
#include "server/dialect/json.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/runs.h"

namespace cachalot::dialect {

// How a dialect tells what is heard of the runs.
class Teller {
 public:
  virtual ~Teller() = default;

  // -- A stream

  // The request has been taken; nothing is known of its answer.
  virtual void begin(EventStream&) {}
  // Once, before any tell(): its first run works (what of the prompt was cached is known: Runs::prefix()), or none of
  // them has begun for kQuiet.
  virtual void begun(const Runs&, EventStream&) {}
  // News, in order. An answer that ends, ends well.
  virtual void tell(const RunNews& news, const Runs& runs, EventStream& events) = 0;
  // kQuiet has passed without a word.
  virtual void still_at_work(EventStream& events) { events.comment("still at work"); }
  // All answers have ended.
  virtual void end(const Runs& runs, EventStream& events) = 0;
  // Or something went wrong: the last words.
  virtual void fail(const ApiError& error, EventStream& events) = 0;

  // -- At once

  // News, as they come.
  virtual void hear(const RunNews&) {}
  // The body: `all` holds the whole of every answer of every run, in order.
  virtual std::string whole(std::vector<RunNews> all, const Runs& runs) = 0;
};

// Starts the runs and tells of them until all have ended. Throws http::ClientGone, and, before anything was sent,
// ApiError, Error and Busy; what goes wrong within a stream is told by its teller.
void follow(http::Exchange& exchange, bool stream, std::vector<Run> runs, Generator& generator, Teller& teller,
            RequestNotes& notes);

// 96 random bits, in hex.
std::string random_id();
// "stop", "length"; an answer that ended otherwise has no reason, since it is an error.
std::string_view finish_reason(const ReplyEnd& end);

}  // namespace cachalot::dialect
