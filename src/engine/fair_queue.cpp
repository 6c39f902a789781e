#include "engine/fair_queue.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace cachalot {

double FairQueue::rows_of(const CallerAccount& account) const {
  return account.rows * std::exp2(-static_cast<double>(rows_ - account.counted) / kHalfLife);
}

void FairQueue::add(std::unique_ptr<Sequence> sequence) {
  std::erase_if(accounts_,
                [&](const auto& entry) { return entry.second.sequences == 0 && rows_of(entry.second) < 1; });
  CallerAccount& account = accounts_[sequence->request.caller];
  SequenceList one;
  one.push_back(std::move(sequence));
  one.back()->account = &account;
  for (auto& sibling : one.back()->siblings) sibling->account = &account;
  account.sequences += 1 + static_cast<int>(one.back()->siblings.size());
  add(std::move(one));
}

void FairQueue::add(SequenceList one) {
  const auto after =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& other) { return other->id > one.front()->id; });
  waiting_.splice(after, one);
}

Sequence* FairQueue::next() const {
  Sequence* next = nullptr;
  double fewest = 0;
  for (const auto& sequence : waiting_) {
    const double rows = std::floor(rows_of(*sequence->account));
    if (next && rows >= fewest) continue;
    next = sequence.get();
    fewest = rows;
  }
  return next;
}

std::unique_ptr<Sequence> FairQueue::take(Sequence& sequence) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& s) { return s.get() == &sequence; });
  CHECK(at != waiting_.end());
  auto taken = std::move(*at);
  waiting_.erase(at);
  return taken;
}

void FairQueue::count(Sequence& sequence, int rows) {
  CallerAccount& account = *sequence.account;
  account.rows = rows_of(account) + rows;
  rows_ += rows;
  account.counted = rows_;
}

}  // namespace cachalot
