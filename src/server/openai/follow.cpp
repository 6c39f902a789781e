#include "server/openai/follow.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace cachalot::openai {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Json usage_json(const ReplyUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

// The members around the choices, the same in all chunks.
class Envelope {
 public:
  Envelope(const Teller& teller, const Asked& asked, bool chunk)
      : json_({{"id", std::string(teller.id_prefix()) + random_id()},
               {"object", teller.object(chunk)},
               {"created", static_cast<int64_t>(std::time(nullptr))},
               {"model", asked.model.id},
               {"system_fingerprint", asked.model.fingerprint},
               {"choices", Json::array()}}) {}

  Json with(Json choices) const {
    Json whole = json_;
    whole["choices"] = std::move(choices);
    return whole;
  }

 private:
  Json json_;
};

class Events {
 public:
  explicit Events(http::Exchange& exchange) : exchange_(exchange) {
    exchange_.begin({.content_type = "text/event-stream; charset=utf-8",
                     .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  }
  void add(std::string_view data) {
    buffer_ += fmt::format("data: {}\n\n", data);
    if (buffer_.size() >= kMostHeldBack) flush();
  }
  void flush() {
    if (buffer_.empty()) return;
    exchange_.write(buffer_);
    buffer_.clear();
    told_ = Clock::now();
  }
  // How long nothing may be told from now on.
  milliseconds quiet_left() const {
    const auto quiet = std::chrono::duration_cast<milliseconds>(Clock::now() - told_);
    return std::max(milliseconds(0), kQuiet - quiet);
  }
  void comment() { buffer_ += ": still at work\n\n"; }

 private:
  static constexpr size_t kMostHeldBack = size_t{64} << 10;  // bytes of events

  http::Exchange& exchange_;
  std::string buffer_;
  Clock::time_point told_ = Clock::now();
};

// What ended badly is the whole request's end.
void check_end(const ReplyNews& news) {
  if (!news.end) return;
  if (news.end->reason == FinishReason::error && news.end->error == kOutOfMemory) throw out_of_memory();
  if (news.end->reason == FinishReason::error) throw ApiError{500, news.end->error, "engine_error", {}};
  if (news.end->reason == FinishReason::cancelled)
    throw ApiError{503, "the answer was cancelled, since the server ends", "server_unavailable", {}};
}

void take_notes(const Runs& runs, const std::vector<RunNews>& all, RequestNotes& notes) {
  const ReplyUsage usage = runs.usage();
  notes.cached_tokens = usage.cached_tokens;
  notes.completion_tokens = usage.completion_tokens;
  if (notes.prefix.empty() && runs.prefix()) notes.prefix = sentence(*runs.prefix());
  notes.first_token = runs.first_token();
  for (const RunNews& news : all)
    if (news.news.end) notes.finish = name(news.news.end->reason);
  for (const RunNews& news : all) check_end(news.news);
}

void stream(http::Exchange& exchange, const Asked& asked, Runs& runs, Teller& teller, RequestNotes& notes) {
  const Envelope envelope(teller, asked, /*chunk=*/true);
  Events events(exchange);
  Json prompt = teller.prompt_token_ids();  // in the first chunk alone
  const auto tell = [&](Json choices) {
    Json chunk = envelope.with(std::move(choices));
    if (!prompt.is_null()) chunk["prompt_token_ids"] = std::exchange(prompt, nullptr);
    if (asked.usage_always || asked.usage_at_end)
      chunk["usage"] = asked.usage_always ? usage_json(runs.usage()) : Json(nullptr);
    events.add(dump(chunk));
  };
  const auto tell_each = [&](Json choices) {
    for (Json& choice : choices) tell(Json::array({std::move(choice)}));
  };
  // Not before there is something to say: who measures the time to the first token takes it from the first event.
  Json beginning = teller.beginning();
  while (!runs.ended()) {
    const auto news = runs.next(exchange, events.quiet_left());
    if (!news) {
      events.comment();
      events.flush();
      continue;
    }
    // What came before an error is told.
    for (const RunNews& one : *news) {
      if (one.news.end && one.news.end->reason != FinishReason::stop && one.news.end->reason != FinishReason::length)
        break;
      Json choices = teller.chunks(one, runs.reply(one.run));
      if (!choices.empty()) tell_each(std::exchange(beginning, Json::array()));
      tell_each(std::move(choices));
    }
    events.flush();
    take_notes(runs, *news, notes);
  }
  if (asked.usage_at_end) {
    Json chunk = envelope.with(Json::array());
    chunk["usage"] = usage_json(runs.usage());
    events.add(dump(chunk));
  }
  events.add("[DONE]");
  events.flush();
}

void append(ReplyNews&& more, ReplyNews& whole) {
  cachalot::append(whole.parts, std::move(more.parts));
  std::move(more.tokens.begin(), more.tokens.end(), std::back_inserter(whole.tokens));
  if (more.end) whole.end = std::move(more.end);
}

// The text of an object whose list of choices is empty, with these: each is told for itself, since a choice with
// log-probabilities takes many times the memory of its text.
std::string with_choices(const std::string& object, const std::function<void(std::string&)>& tell) {
  constexpr std::string_view kList = "\"choices\":[";
  const size_t at = object.find(kList) + kList.size();
  std::string text = object.substr(0, at);
  tell(text);
  return text.append(object, at);
}

void send_whole(http::Exchange& exchange, const Asked& asked, Runs& runs, size_t prompts, Teller& teller,
                RequestNotes& notes) {
  const auto answers = static_cast<size_t>(asked.answers);
  std::vector<RunNews> whole;
  for (size_t run = 0; run < prompts; ++run)
    for (int answer = 0; answer < asked.answers; ++answer)
      whole.push_back({run, {.answer = answer, .parts = {}, .tokens = {}, .end = {}}});
  while (!runs.ended()) {
    auto news = runs.next(exchange, kQuiet);
    if (!news) continue;
    take_notes(runs, *news, notes);
    for (RunNews& one : *news) {
      const size_t at = one.run * answers + static_cast<size_t>(one.news.answer);
      append(std::move(one.news), whole[at].news);
    }
  }
  Json json = Envelope(teller, asked, /*chunk=*/false).with(Json::array());
  if (Json prompt = teller.prompt_token_ids(); !prompt.is_null()) json["prompt_token_ids"] = std::move(prompt);
  json["usage"] = usage_json(runs.usage());
  exchange.send({.body = with_choices(dump(json), [&](std::string& text) {
                   for (RunNews& one : whole) {
                     if (&one != &whole.front()) text += ',';
                     text += dump(teller.choice(one, runs.reply(one.run)));
                     one.news.tokens = {};
                   }
                 })});
}

// What a stream that has begun is told of a failure. Within a catch.
ApiError told_of_failure() {
  try {
    throw;
  } catch (const ApiError& error) { return error; } catch (const Busy& busy) {
    return {busy.status, busy.why, "server_unavailable"};
  } catch (const std::exception& error) { return {500, error.what(), "internal_error"}; }
}

}  // namespace

void follow(http::Exchange& exchange, const Asked& asked, std::vector<Run> list, Generator& generator, Teller& teller,
            RequestNotes& notes) {
  const size_t prompts = list.size();
  notes.prompts = static_cast<int>(prompts);
  notes.answers = static_cast<int>(prompts) * asked.answers;
  for (const Run& run : list) notes.prompt_tokens += static_cast<int>(run.request.prompt.size());
  for (const Run& run : list) generator.check(run.request);
  Runs runs(generator, std::move(list));
  runs.start();
  if (asked.stream)
    stream(exchange, asked, runs, teller, notes);
  else
    send_whole(exchange, asked, runs, prompts, teller, notes);
}

void guarded(http::Exchange& exchange, RequestNotes& notes, const std::function<void()>& work) {
  try {
    work();
  } catch (const http::ClientGone&) {
    notes.finish = "gone";
    throw;
  } catch (...) {
    if (!exchange.begun()) throw;
    const ApiError error = told_of_failure();
    notes.finish = "error";
    notes.error = logged(error);
    exchange.write(fmt::format("data: {}\n\ndata: [DONE]\n\n", openai_error(error).body));
  }
}

std::string random_id() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

std::vector<int32_t> token_ids(const std::vector<ReplyToken>& tokens, const std::optional<ReplyEnd>& end) {
  std::vector<int32_t> ids;
  for (const ReplyToken& token : tokens) ids.push_back(token.token);
  if (end && end->stop_token) ids.push_back(*end->stop_token);
  return ids;
}

std::string_view finish_reason(const ReplyEnd& end) {
  CHECK(end.reason == FinishReason::stop || end.reason == FinishReason::length);
  return name(end.reason);
}

Json stop_reason(const ReplyEnd& end, const Asked& asked) {
  if (!end.stop_text.empty()) return end.stop_text;
  const auto& asked_for = asked.stop_tokens;
  if (end.stop_token && std::find(asked_for.begin(), asked_for.end(), *end.stop_token) != asked_for.end())
    return *end.stop_token;
  return nullptr;
}

}  // namespace cachalot::openai
