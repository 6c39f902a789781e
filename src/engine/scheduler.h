// Decides which rows the next step computes: decode tokens of all running sequences first, then prefill chunks in
// order of arrival, within a budget of rows. Owns the sequences and their block tables; touches no tensor.
//
// Drafts are computed when there is room for them and dropped when there is not.
//
// When the cache runs out, the sequence that arrived last gives its blocks back and is computed again later, with
// what it had; the first one always advances, because its tokens were bounded by the whole cache at submission.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <span>

#include "engine/block_pool.h"
#include "engine/sequence.h"

namespace cachalot {

struct SchedulerOptions {
  int max_rows = 512;      // rows of one step
  int max_sequences = 64;  // sequences in one step
};

class Scheduler {
 public:
  // group_windows: per cache group, keys that its layers see (0 = all); blocks behind a window are given back.
  Scheduler(SchedulerOptions options, BlockPool pool, std::vector<int> group_windows);

  void add(std::unique_ptr<Sequence> sequence);
  bool idle() const { return sequences_.empty(); }

  struct Work {
    Sequence* sequence;
    int rows;  // tokens to compute now: uncached ones, and after all of those, drafts

    // Rows whose logits choose tokens: the last uncached token and the drafts; 0 while a prompt is incomplete.
    int choosing_rows() const { return std::max(0, rows - sequence->uncached() + 1); }
  };
  // The next step, in order of arrival; blocks for its rows are in the tables. Empty only when idle.
  std::vector<Work> next();

  // The first `kept` rows of `work` are in the cache now (the others were refused drafts); forgets the drafts and
  // gives back what windows have moved past.
  void commit(const Work& work, int kept);
  // Ends a sequence and gives its blocks back. nullptr when there is none with this id.
  std::unique_ptr<Sequence> remove(RequestId id);

  const BlockPool& pool() const { return pool_; }

 private:
  bool reserve(Sequence& sequence, int tokens);  // tables for positions [0, tokens)
  void give_back(Sequence& sequence);

  SchedulerOptions options_;
  BlockPool pool_;
  std::vector<int> group_windows_;
  std::deque<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
};

}  // namespace cachalot
