#include "server/runs.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"

namespace cachalot {

using std::chrono::milliseconds;

// Each has a descriptor, and waits in the engine's queue if not in its batch.
static constexpr size_t kSideBySide = 64;
// How often one asks again where there was no room and nothing of its own will make any.
static constexpr milliseconds kAgain{250};

void Runs::start() {
  CHECK(started_ == 0 && !runs_.empty());
  start_ = std::chrono::steady_clock::now();
  running_.push_back({0, generator_.start(std::move(runs_[0].request))});
  ++started_;
  start_more();
}

bool Runs::start_more() {
  while (started_ < runs_.size() && running_.size() < kSideBySide) {
    try {
      running_.push_back({started_, generator_.start(runs_[started_].request)});
    } catch (const Busy& busy) {
      if (busy.status == 503) throw;
      return true;
    }
    ++started_;
  }
  return false;
}

std::optional<std::vector<RunNews>> Runs::next(http::Exchange& exchange, milliseconds time) {
  const bool again = start_more() && running_.empty() && kAgain < time;
  if (again) time = kAgain;
  std::vector<const Wakeup*> wakeups;
  for (Running& running : running_) wakeups.push_back(&running.generation.queue().wakeup());
  const auto heard = wakeups.size() == 1 ? exchange.wait(*wakeups[0], time) : exchange.wait(Wakeup(wakeups), time);
  if (heard == http::Exchange::News::gone) throw http::ClientGone{};
  if (heard == http::Exchange::News::timeout && !again) return std::nullopt;

  std::vector<RunNews> news;
  for (auto running = running_.begin(); running != running_.end();) {
    take(*running, news);
    const bool over = runs_[running->run].reply.ended();
    ended_ += over;
    running = over ? running_.erase(running) : std::next(running);
  }
  return news;
}

void Runs::take(Running& running, std::vector<RunNews>& news) {
  Reply& reply = runs_[running.run].reply;
  for (const Event& event : running.generation.queue().take()) {
    if (event.token && !first_token_)
      first_token_ = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start_);
    auto told = reply.push(event);
    if (!told) continue;
    if (told->end && !event.finished && !reply.ended()) running.generation.cancel(told->answer);
    news.push_back({running.run, std::move(*told)});
  }
  if (running.run == 0 && !prefix_) prefix_ = running.generation.queue().finding();
}

ReplyUsage Runs::usage() const {
  ReplyUsage sum;
  for (const Run& run : runs_) {
    const ReplyUsage& usage = run.reply.usage();
    sum.prompt_tokens += usage.prompt_tokens;
    sum.cached_tokens += usage.cached_tokens;
    sum.completion_tokens += usage.completion_tokens;
    sum.reasoning_tokens += usage.reasoning_tokens;
  }
  return sum;
}

}  // namespace cachalot
