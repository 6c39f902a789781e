#include "server/engine_thread.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bitset>
#include <cmath>
#include <condition_variable>
#include <new>

#include "base/log.h"

namespace cachalot {

using Clock = std::chrono::steady_clock;

// -- What is shared with connections

struct EngineThread::Job {
  // Set by who starts it.
  Request request;  // empty when the engine has it
  int answers = 1, prompt_tokens = 0;
  double arrived = 0;
  std::shared_ptr<EventQueue> queue = std::make_shared<EventQueue>();
  std::atomic<bool> ended = false;  // nothing is left to cancel

  // Guarded by the mailbox.
  bool listed = false;  // among those to be cancelled
  bool all_cancelled = false;
  std::bitset<kMostAnswers> cancelled;

  // The engine thread's.
  RequestId id = 0;
  int open = 0;             // answers that have not ended
  std::vector<Event> news;  // with room for the ends of all answers
  std::string failure;      // that it is ended for
  PromptHistory::Asked asked;
  bool begun = false;
  double queued = 0, first = 0, last = 0;  // seconds that it waited; when its first token came, and the latest
  struct Answer {
    double last = 0;  // when its latest token came; 0: none has
    int64_t tokens = 0;
  };
  std::vector<Answer> of_answer;
};

struct EngineThread::Mailbox {
  std::mutex mutex;
  std::condition_variable news;
  Jobs submitted, cancelled;  // `cancelled` has room for all jobs that have not ended besides
  size_t open = 0;            // jobs that have not ended
  bool stopping = false;
  Clock::time_point deadline = Clock::time_point::max();

  // As of the last step, and of what was taken since.
  SchedulerLoad load;
  int free = 0;             // sequences that may begin besides
  double last_end = 0;      // when a request ended, or the first one came after a rest
  double between_ends = 0;  // seconds, lately; 0: none has ended yet

  // How long it will be, as things have gone of late, until another request ends.
  std::chrono::seconds until_next_end(double now) const {
    constexpr double kMost = 60;
    const double waited = now - last_end;
    const double left = waited < between_ends ? between_ends - waited : waited;
    return std::chrono::seconds(static_cast<int>(std::ceil(std::clamp(left, 1.0, kMost))));
  }
  void ended(double now) {
    constexpr double kNewest = 0.2;
    const double interval = std::max(0.0, now - std::exchange(last_end, now));
    between_ends += (between_ends == 0 ? 1 : kNewest) * (interval - between_ends);
    --open;
  }
};

// Until there is memory for it.
template <typename Work>
static void insist(const Work& work) {
  while (true) {
    try {
      return work();
    } catch (const std::bad_alloc&) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }
  }
}

// -- For connections

EngineThread::EngineThread(const LoadedModel& model, const EngineThreadOptions& options)
    : EngineThread(*model.ops, *model.transformer, model.engine_options(), options) {}

EngineThread::EngineThread(Ops& ops, const Transformer& model, EngineOptions engine,
                           const EngineThreadOptions& options)
    : options_(options), engine_(ops, model, std::move(engine)), mailbox_(std::make_shared<Mailbox>()) {
  mailbox_->free = engine_.options().scheduler.max_sequences;
  thread_ = std::thread([this] { run(); });
}

EngineThread::~EngineThread() {
  stop(std::chrono::milliseconds(0));
  join();
}

Generation EngineThread::start(Request request) {
  const double now = engine_.options().seconds();
  const auto tokens = static_cast<int64_t>(request.prompt.size()) * request.answers;
  Mailbox& m = *mailbox_;
  const auto refuse_when_busy = [&] {
    if (m.stopping) {
      const auto left = std::chrono::ceil<std::chrono::seconds>(m.deadline - Clock::now());
      throw Busy{503, "the server is shutting down",
                 std::clamp(left, std::chrono::seconds(1), std::chrono::seconds(60))};
    }
    int64_t waiting = m.load.waiting, waiting_tokens = m.load.waiting_tokens + tokens;
    for (const auto& job : m.submitted) {
      ++waiting;
      waiting_tokens += int64_t{job->prompt_tokens} * job->answers;
    }
    if (waiting >= options_.max_waiting + m.free)
      throw Busy{429, fmt::format("{} requests wait already", waiting - m.free), m.until_next_end(now)};
    if (waiting >= m.free && waiting_tokens > options_.max_waiting_tokens)
      throw Busy{429, fmt::format("requests wait already, and their prompts would be {} tokens", waiting_tokens),
                 m.until_next_end(now)};
  };
  std::unique_lock lock(m.mutex);
  refuse_when_busy();
  lock.unlock();

  const auto job = std::make_shared<Job>();
  job->answers = job->open = request.answers;
  job->prompt_tokens = static_cast<int>(request.prompt.size());
  job->request = std::move(request);
  job->arrived = now;
  job->news.reserve(static_cast<size_t>(job->answers));
  job->of_answer.resize(static_cast<size_t>(job->answers));
  Generation generation(job->queue, [mailbox = mailbox_, job](std::optional<int> answer) {
    if (job->ended) return;
    const std::lock_guard cancelling(mailbox->mutex);
    if (answer && *answer >= 0 && *answer < job->answers) job->cancelled.set(static_cast<size_t>(*answer));
    if (!answer) job->all_cancelled = true;
    if (!std::exchange(job->listed, true)) mailbox->cancelled.push_back(job);
    mailbox->news.notify_one();
  });

  lock.lock();
  try {
    refuse_when_busy();
    m.cancelled.reserve(m.cancelled.size() + m.open + 1);
    m.submitted.push_back(job);
  } catch (...) {
    job->ended = true;
    lock.unlock();
    throw;
  }
  if (m.open++ == 0) m.last_end = now;
  m.news.notify_one();
  return generation;
}

void EngineThread::stop(std::chrono::milliseconds grace) {
  const std::lock_guard lock(mailbox_->mutex);
  mailbox_->stopping = true;
  mailbox_->deadline = std::min(mailbox_->deadline, Clock::now() + grace);
  mailbox_->news.notify_one();
}

void EngineThread::join() {
  if (thread_.joinable()) thread_.join();
}

// -- The thread

void EngineThread::run() {
  while (receive())
    if (!engine_.idle()) step();
}

// Takes what is in the mailbox; waits for it where nothing is to be done. False: the end.
bool EngineThread::receive() {
  struct Cancellation {
    bool all;
    std::bitset<kMostAnswers> answers;
  };
  std::vector<Cancellation> cancellations;
  bool too_late = false;
  {
    Mailbox& m = *mailbox_;
    std::unique_lock lock(m.mutex);
    m.load = engine_.load();
    m.free = m.load.waiting > 0 ? 0 : std::max(0, engine_.options().scheduler.max_sequences - m.load.running);
    m.news.wait(lock, [&] { return !m.submitted.empty() || !m.cancelled.empty() || m.stopping || !engine_.idle(); });
    insist([&] {
      cancelled_.reserve(m.cancelled.size());
      cancellations.reserve(m.cancelled.size());
    });
    for (const auto& job : m.cancelled) {
      cancelled_.push_back(job);
      cancellations.push_back({job->all_cancelled, job->cancelled});
      job->listed = false;
    }
    m.cancelled.clear();  // and keeps its room
    submitted_.swap(m.submitted);
    const int taken = static_cast<int>(submitted_.size()), begin = std::min(taken, m.free);
    m.free -= begin;
    m.load.waiting += taken - begin;
    if (m.stopping && submitted_.empty() && engine_.idle()) return false;
    too_late = m.stopping && Clock::now() >= m.deadline;
  }
  for (const auto& job : submitted_) submit(job);
  submitted_.clear();
  for (size_t i = 0; i < cancelled_.size(); ++i) {
    if (cancellations[i].all) cancel(*cancelled_[i], std::nullopt);
    for (int answer = 0; answer < cancelled_[i]->answers; ++answer)
      if (cancellations[i].answers[static_cast<size_t>(answer)]) cancel(*cancelled_[i], answer);
  }
  cancelled_.clear();
  if (too_late) cancel_all();
  return true;
}

void EngineThread::submit(const std::shared_ptr<Job>& job) {
  try {
    if (jobs_.size() == jobs_.capacity()) jobs_.reserve(2 * jobs_.size() + 16);
    with_news_.reserve(jobs_.capacity());
    job->asked = history_.ask(job->request);
    job->id = engine_.submit(job->request);
    job->request = {};
    jobs_.push_back(job);
  } catch (const std::bad_alloc&) { refuse(*job, kOutOfMemory); } catch (const std::exception& e) {
    refuse(*job, e.what());
  }
}

// Nothing has been said of it yet, so there is room for all of this.
void EngineThread::refuse(Job& job, const std::string& reason) {
  for (int answer = 0; answer < job.answers; ++answer) {
    job.news.push_back({.request = 0, .answer = answer, .finished = FinishReason::error});
    insist([&] { job.news.back().error = reason; });
    if (options_.metrics) options_.metrics->answer_ended(FinishReason::error);
  }
  job.ended = true;
  insist([&] { job.queue->push(std::move(job.news)); });
  const std::lock_guard lock(mailbox_->mutex);
  --mailbox_->open;
}

void EngineThread::cancel(const Job& job, std::optional<int> answer) {
  if (!job.ended && job.id > 0) insist([&] { engine_.cancel(job.id, answer); });
}

void EngineThread::cancel_all() {
  for (const auto& job : jobs_) cancel(*job, std::nullopt);
}

void EngineThread::step() {
  const double start = engine_.options().seconds();
  std::vector<Event> events;
  try {
    events = engine_.step();
  } catch (const std::exception&) { return step_failed(); }
  failed_steps_ = 0;
  if (options_.metrics) options_.metrics->took(engine_.options().seconds() - start, engine_);
  deliver(events);
}

void EngineThread::step_failed() {
  constexpr int kPatience = 20;
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (++failed_steps_ < kPatience) return;
  failed_steps_ = 0;
  const auto latest =
      std::find_if(jobs_.rbegin(), jobs_.rend(), [](const auto& job) { return job->failure.empty(); });
  if (latest == jobs_.rend()) return;
  (*latest)->failure = kOutOfMemory;
  cancel(**latest, std::nullopt);
}

EngineThread::Job* EngineThread::find(RequestId id) const {
  const auto at =
      std::lower_bound(jobs_.begin(), jobs_.end(), id, [](const auto& job, RequestId i) { return job->id < i; });
  return at != jobs_.end() && (*at)->id == id ? at->get() : nullptr;
}

void EngineThread::deliver(std::vector<Event>& events) {
  const double now = engine_.options().seconds();
  int tokens = 0;
  for (Event& event : events) {
    Job* job = find(event.request);
    CHECK(job, "news of a request that has ended");
    tokens += event.token.has_value();
    note(*job, event, now);
    if (job->news.empty()) with_news_.push_back(job);
    insist([&] { job->news.reserve(job->news.size() + 1); });
    job->news.push_back(std::move(event));
  }
  if (options_.metrics && tokens > 0) options_.metrics->generated(tokens);
  int ended = 0;
  for (Job* job : with_news_) {
    if (job->open == 0) job->ended = true;
    ended += job->open == 0;
    insist([&] { job->queue->push(std::move(job->news)); });
  }
  with_news_.clear();
  if (ended == 0) return;
  std::erase_if(jobs_, [](const auto& job) { return job->ended.load(); });
  const std::lock_guard lock(mailbox_->mutex);
  for (; ended > 0; --ended) mailbox_->ended(now);
}

// -- What is told of requests besides their answers

void EngineThread::note(Job& job, Event& event, double now) {
  if (!job.begun && event.begun > 0) note_beginning(job, event);
  if (event.token || event.finished == FinishReason::stop || event.finished == FinishReason::length)
    PromptHistory::computed(job.asked);
  if (event.token) note_token(job, event, now);
  if (options_.metrics && !event.embedding.empty()) options_.metrics->embedded();
  if (options_.metrics && event.drafted > 0) options_.metrics->drafts(event.drafted, event.accepted);
  if (!event.finished) return;
  if (!job.failure.empty() && event.finished == FinishReason::cancelled) {
    event.finished = FinishReason::error;
    insist([&] { event.error = job.failure; });
  }
  if (options_.metrics) options_.metrics->answer_ended(*event.finished);
  if (--job.open == 0) note_end(job, now);
}

void EngineThread::note_beginning(Job& job, const Event& event) {
  job.begun = true;
  job.queued = std::max(0.0, event.begun - job.arrived);
  const Cache& cache = engine_.cache();
  job.queue->tell(PromptHistory::begun(job.asked, {.tokens = event.cached_tokens,
                                                   .evictions = cache.statistics().evictions,
                                                   .together = cache.found_together()}));
  if (options_.metrics) options_.metrics->began(job.queued, job.prompt_tokens, event.cached_tokens);
}

void EngineThread::note_token(Job& job, const Event& event, double now) {
  Job::Answer& answer = job.of_answer[static_cast<size_t>(event.answer)];
  ++answer.tokens;
  if (event.answer == 0) history_.add(job.asked, *event.token);
  if (options_.metrics && job.first == 0) options_.metrics->first_token(now - job.arrived);
  if (options_.metrics && answer.last > 0 && now > answer.last) options_.metrics->between_tokens(now - answer.last);
  if (job.first == 0) job.first = now;
  job.last = answer.last = now;
}

void EngineThread::note_end(Job& job, double now) {
  PromptHistory::ended(job.asked, engine_.cache().statistics().evictions);
  if (!options_.metrics) return;
  int64_t tokens = 0, longest = 0;
  for (const Job::Answer& answer : job.of_answer) {
    tokens += answer.tokens;
    longest = std::max(longest, answer.tokens);
  }
  options_.metrics->request_ended({.prompt_tokens = job.prompt_tokens,
                                   .answers = job.answers,
                                   .tokens = tokens,
                                   .longest = longest,
                                   .queued = job.queued,
                                   .whole = now - job.arrived,
                                   .first = job.first - job.arrived - job.queued,
                                   .decoding = job.last - job.first});
}

}  // namespace cachalot
