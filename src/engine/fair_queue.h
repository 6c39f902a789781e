// Requests that wait, and which of them is next: the oldest one of the caller for whom the fewest rows were computed
// of late. So a caller with many requests does not keep those of another waiting.
//
// Rows count half as much when kHalfLife further ones have been computed, for whomever. So nobody waits forever,
// however many callers come anew: what a caller has had decays to less than a row, and of those with none the oldest
// request is next.
#pragma once

#include <map>
#include <string>

#include "engine/sequence.h"

namespace cachalot {

struct CallerAccount {
  int sequences = 0;    // that wait or run
  double rows = 0;      // decayed, as it was ...
  int64_t counted = 0;  // ... when so many rows had been computed in all
};

class FairQueue {
 public:
  static constexpr double kHalfLife = 65536;

  // Opens an account for the caller of a sequence and its siblings, and lets it wait.
  void add(std::unique_ptr<Sequence> sequence);
  // The same for one that has an account; allocates nothing.
  void add(SequenceList one);
  Sequence* next() const;  // nullptr when nobody waits
  std::unique_ptr<Sequence> take(Sequence& sequence);

  // Rows were computed for a sequence, wherever it is.
  void count(Sequence& sequence, int rows);
  // It has ended.
  void forget(Sequence& sequence) { --sequence.account->sequences; }

  SequenceList& waiting() { return waiting_; }
  const SequenceList& waiting() const { return waiting_; }
  bool empty() const { return waiting_.empty(); }

 private:
  double rows_of(const CallerAccount& account) const;

  SequenceList waiting_;                           // in order of arrival
  std::map<std::string, CallerAccount> accounts_;  // by Request::caller
  int64_t rows_ = 0;                               // computed in all
};

}  // namespace cachalot
