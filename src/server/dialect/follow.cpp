#include "server/dialect/follow.h"

#include <fmt/format.h>

#include <iterator>
#include <numeric>
#include <random>

#include "base/check.h"
#include "base/error.h"

namespace cachalot::dialect {
namespace {

bool ended_well(const ReplyEnd& end) {
  return end.reason == FinishReason::stop || end.reason == FinishReason::length;
}

// What ended badly is the whole request's end.
void check_end(const ReplyNews& news) {
  if (!news.end || ended_well(*news.end)) return;
  if (news.end->reason == FinishReason::error && news.end->error == kOutOfMemory) throw out_of_memory();
  if (news.end->reason == FinishReason::error) throw ApiError{500, news.end->error, "engine_error", {}};
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

void stream(http::Exchange& exchange, Runs& runs, Teller& teller, EventStream& events, RequestNotes& notes) {
  teller.begin(events);
  events.flush();
  bool begun = false;
  while (!runs.ended()) {
    const auto news = runs.next(exchange, events.quiet_left());
    const bool begins = !news || runs.prefix() || !news->empty();
    if (begins && !begun) teller.begun(runs, events);
    begun = begun || begins;
    if (!news) teller.still_at_work(events);
    if (news) {
      // What came before an error is told.
      for (const RunNews& one : *news) {
        if (one.news.end && !ended_well(*one.news.end)) break;
        teller.tell(one, runs, events);
      }
    }
    events.flush();
    if (news) take_notes(runs, *news, notes);
  }
  teller.end(runs, events);
  events.flush();
}

// What a stream that has begun is told of a failure. Within a catch.
ApiError told_of_failure() {
  try {
    throw;
  } catch (const ApiError& error) { return error; } catch (const Busy& busy) {
    return {busy.status, busy.why, "server_unavailable"};
  } catch (const std::exception& error) { return {500, error.what(), "internal_error"}; }
}

void stream_guarded(http::Exchange& exchange, Runs& runs, Teller& teller, RequestNotes& notes) {
  EventStream events(exchange);
  try {
    stream(exchange, runs, teller, events, notes);
  } catch (const http::ClientGone&) { throw; } catch (...) {
    const ApiError error = told_of_failure();
    notes.finish = "error";
    notes.error = logged(error);
    teller.fail(error, events);
    events.flush();
  }
}

void append(ReplyNews&& more, ReplyNews& whole) {
  cachalot::append(whole.parts, std::move(more.parts));
  std::move(more.tokens.begin(), more.tokens.end(), std::back_inserter(whole.tokens));
  if (more.end) whole.end = std::move(more.end);
}

std::vector<RunNews> hear_all(http::Exchange& exchange, Runs& runs, const std::vector<int>& answers, Teller& teller,
                              RequestNotes& notes) {
  std::vector<RunNews> whole;
  std::vector<size_t> first;  // of each run
  for (size_t run = 0; run < answers.size(); ++run) {
    first.push_back(whole.size());
    for (int answer = 0; answer < answers[run]; ++answer)
      whole.push_back({run, {.answer = answer, .parts = {}, .tokens = {}, .end = {}}});
  }
  while (!runs.ended()) {
    auto news = runs.next(exchange, kQuiet);
    if (!news) continue;
    take_notes(runs, *news, notes);
    for (RunNews& one : *news) {
      teller.hear(one);
      const size_t at = first[one.run] + static_cast<size_t>(one.news.answer);
      append(std::move(one.news), whole[at].news);
    }
  }
  return whole;
}

}  // namespace

void follow(http::Exchange& exchange, bool streamed, std::vector<Run> list, Generator& generator, Teller& teller,
            RequestNotes& notes) {
  std::vector<int> answers;  // of each run
  for (const Run& run : list) {
    generator.check(run.request);
    answers.push_back(run.request.answers);
    notes.prompt_tokens += static_cast<int>(run.request.prompt.size());
  }
  notes.prompts = static_cast<int>(list.size());
  notes.answers = std::accumulate(answers.begin(), answers.end(), 0);
  Runs runs(generator, std::move(list));
  try {
    runs.start();
    if (streamed) return stream_guarded(exchange, runs, teller, notes);
    auto all = hear_all(exchange, runs, answers, teller, notes);
    exchange.send({.body = teller.whole(std::move(all), runs)});
  } catch (const http::ClientGone&) {
    notes.finish = "gone";
    throw;
  }
}

std::string random_id() {
  std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

std::string_view finish_reason(const ReplyEnd& end) {
  CHECK(ended_well(end));
  return name(end.reason);
}

}  // namespace cachalot::dialect
