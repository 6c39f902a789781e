#include "server/generator.h"

namespace cachalot {

void EventQueue::push(std::vector<Event>&& events) {
  if (events.empty()) return;
  const std::lock_guard lock(mutex_);
  if (events_.empty()) {
    events_.swap(events);
    wakeup_.wake();
    return;
  }
  if (const size_t needed = events_.size() + events.size(); needed > events_.capacity()) events_.reserve(2 * needed);
  for (Event& event : events) events_.push_back(std::move(event));
  events.clear();
}

std::vector<Event> EventQueue::take() {
  const std::lock_guard lock(mutex_);
  wakeup_.reset();
  return std::exchange(events_, {});
}

void EventQueue::tell(const PrefixFinding& finding) {
  const std::lock_guard lock(mutex_);
  finding_ = finding;
}

std::optional<PrefixFinding> EventQueue::finding() const {
  const std::lock_guard lock(mutex_);
  return finding_;
}

}  // namespace cachalot
