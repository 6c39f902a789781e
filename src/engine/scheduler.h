// Decides which rows the next step computes: decode tokens of all running sequences first, then prefill chunks in
// order of arrival, within a budget of rows. Owns the sequences and their block tables; touches no tensor.
//
// Who runs. Sequences run in order of arrival: the running ones are always those that came first, the others wait and
// hold no block. One that waits is admitted between steps, when it is the next in order and the whole cache has room
// for all tokens of everyone who runs and of itself, and for one block more of each (less where it ends before). So
// what is begun is finished as a rule. A first sequence is always admitted.
//
// When the cache runs out. Whoever lacks a block takes those of the sequence that came last, which waits again and is
// computed again later, with what it had; if it came last itself, it holds what it has and skips the step. The first
// one always advances, because its tokens were bounded by the whole cache at submission; so everyone becomes the
// first, and nobody starves.
//
// Drafts are computed when there is room for them and dropped when there is not; every running sequence has a row
// before.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <span>

#include "engine/block_pool.h"
#include "engine/sequence.h"

namespace cachalot {

struct SchedulerOptions {
  int max_rows = 512;       // rows of one step
  int max_sequences = 64;   // sequences that run at once; the others wait
  int state_snapshots = 0;  // slots of recurrent states besides those of the sequences that run

  int state_slots() const { return max_sequences + state_snapshots; }
};

// Blocks per group (its window; 0 = none) of a cache for `tokens` tokens of the sequences that may run.
std::vector<int> blocks_for(std::span<const int> group_windows, int64_t tokens, const SchedulerOptions& options);

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
  // The next step, in order of arrival; blocks for its rows are in the tables. Empty only when idle. When it throws
  // (no memory), every block is still in a table or in the pool.
  std::vector<Work> next();

  // The first `kept` rows of `work` are in the cache now (the others were refused drafts); forgets the drafts and
  // gives back what windows have moved past.
  void commit(const Work& work, int kept);
  // Ends a sequence and gives its blocks back. nullptr when there is none with this id.
  std::unique_ptr<Sequence> remove(RequestId id);

  const BlockPool& pool() const { return pool_; }

 private:
  bool has_room_for(const Sequence& next) const;
  // Tables for positions [0, tokens), or nothing.
  bool reserve(Sequence& sequence, int tokens);
  struct Step {
    std::vector<Work> works;
    int rows_left;
  };
  // The same at the expense of those that run and came later, which are taken out of the step.
  bool reserve_from_later(size_t index, int tokens, Step& step);
  void give_back(Sequence& sequence);

  SchedulerOptions options_;
  BlockPool pool_;
  std::vector<int> group_windows_;
  std::deque<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  size_t running_ = 0;                               // so many of them, the first ones, run, each with a slot
  std::vector<int> free_slots_;                      // of states
};

}  // namespace cachalot
