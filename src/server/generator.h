// What runs the requests of all connections: the engine's thread (engine_thread.h), in tests a script.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "server/prefix_finding.h"
#include "server/wakeup.h"

namespace cachalot {

// News of one request on their way from the thread that makes them to the one that tells the client.
class EventQueue {
 public:
  // By the generator. Never blocks. Throws std::bad_alloc, and has not taken the events then; they are empty when it
  // has.
  void push(std::vector<Event>&& events);
  // By the connection: all that has come, perhaps nothing. Never blocks.
  std::vector<Event> take();
  const Wakeup& wakeup() const { return wakeup_; }  // woken while take() has something

  // How much of the prompt was cached, and why not more: known when events have come, but of one that ends before it
  // begins.
  void tell(const PrefixFinding& finding);
  std::optional<PrefixFinding> finding() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Event> events_;
  std::optional<PrefixFinding> finding_;
  Wakeup wakeup_;
};

// A request that runs. Its end cancels what has not ended.
class Generation {
 public:
  using Cancel = std::function<void(std::optional<int> answer)>;  // none: all answers; never throws
  Generation(std::shared_ptr<EventQueue> queue, Cancel cancel)
      : queue_(std::move(queue)), cancel_(std::move(cancel)) {}
  ~Generation() {
    if (cancel_) cancel_(std::nullopt);
  }
  Generation(Generation&& other) noexcept
      : queue_(std::move(other.queue_)), cancel_(std::exchange(other.cancel_, nullptr)) {}
  Generation& operator=(Generation&&) = delete;

  EventQueue& queue() { return *queue_; }
  void cancel(int answer) { cancel_(answer); }

 private:
  std::shared_ptr<EventQueue> queue_;
  Cancel cancel_;
};

// There is no room for one more request now.
struct Busy {
  int status;                        // 429: too many wait; 503: the server ends, or does not run yet
  std::string why;                   // a sentence for the client
  std::chrono::seconds retry_after;  // when it is worth trying again
};

class Generator {
 public:
  virtual ~Generator() = default;
  // Throws Error when the engine would refuse the request. From any thread.
  virtual void check(const Request& request) const = 0;
  // Runs a request that has passed check(). Throws Busy. From any thread.
  virtual Generation start(Request request) = 0;
};

}  // namespace cachalot
