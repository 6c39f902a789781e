// Decides which rows the next step computes: decode tokens of all running sequences first, then prefill chunks,
// within a budget of rows. Owns the sequences and the cache; touches no tensor.
//
// Who runs. Requests wait in a queue that is fair to callers (engine/fair_queue.h). The next one begins between
// steps, when the whole cache has room for all tokens of everyone who runs and of itself, and for one block more of
// each (less where it ends before). So what is begun is finished as a rule. A first sequence always begins.
//
// When the cache runs out. Whoever lacks a block keeps what it has and pauses, while those before it go on. Only the
// first one takes blocks, those of the sequence that began last, which goes on later with what it had: what is still
// in the cache then is found there, the rest is computed again. Sequences keep the order in which they began, the
// running ones are always the first of them, and nobody begins while one that had begun waits. The first always
// advances, because its tokens were bounded by the whole cache at submission; so everyone who began becomes the
// first, and nobody starves.
//
// Who computes how much. A step has as many rows as take the stated time, but one for everybody who runs in any case.
// Those that decode have one each. Prompts share the others, callers first and then the requests of each: equal
// shares, but what one cannot use goes to the others, so that a long prompt does not hold up short ones.
//
// Drafts are computed when there is room for them and dropped when there is not; every running sequence has a row
// before.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/fair_queue.h"
#include "engine/row_budget.h"

namespace cachalot {

struct SchedulerOptions {
  int max_rows = 512;          // rows of one step
  int max_sequences = 64;      // sequences that run at once; the others wait
  double step_seconds = 0.25;  // that a step may take where several run; 0 = any
  int state_snapshots = 8;     // slots of recurrent states besides those of the sequences that run
  bool reuse = true;           // sequences begin with what is in the cache

  int state_slots() const { return max_sequences + state_snapshots; }
};

// Blocks per group (its window; 0 = none) of a cache for `tokens` tokens of the sequences that may run.
std::vector<int> blocks_for(std::span<const int> group_windows, int64_t tokens, const SchedulerOptions& options);

struct SchedulerStatistics {
  int64_t begun = 0, preempted = 0, paused = 0, forked = 0;
  int64_t found = 0, found_tokens = 0;  // sequences that began or came back with what the cache had
  int64_t found_inside = 0,
          found_inside_tokens = 0;   // those whose rows ended inside a block, and rows of such blocks
  int64_t rows = 0, rows_again = 0;  // kept; those of them that had been computed before
};

struct SchedulerLoad {
  int running = 0;             // sequences
  int waiting = 0;             // to begin or to go on; answers that begin with another's prompt are not counted
  int64_t waiting_tokens = 0;  // in the memory of those that have not begun
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, const CacheShape& shape);

  // Throws before anything has changed.
  void add(std::unique_ptr<Sequence> sequence);
  bool idle() const { return begun_.empty() && queue_.empty(); }

  struct Work {
    Sequence* sequence;
    int rows;  // tokens to compute now: uncached ones, and after all of those, drafts

    // Rows whose logits choose tokens: the last uncached token and the drafts; 0 while a prompt is incomplete, and of
    // one that asks for an embedding.
    int choosing_rows() const { return sequence->pool ? 0 : std::max(0, rows - sequence->uncached() + 1); }
  };
  struct Step {
    std::vector<Work> works;        // in the order in which the sequences began
    std::vector<CacheCopy> copies;  // to be made before
    int rows = 0;                   // of all works
  };
  // The next step; blocks for its rows are in the tables. Without works only when idle. Throws (no memory) as if it
  // had been abandoned.
  Step next();
  // The step that was planned will not be made, nor its copies: all who run wait, to go on with what they find.
  void abandon();

  // The first `kept` rows of `work` are in the cache now (the others were refused drafts), and their tokens are in
  // the sequence's; forgets the drafts and
  // gives back what windows have moved past.
  void commit(const Work& work, int kept);
  // A step of so many rows took so long.
  void took(int rows, double seconds) { budget_.took(rows, seconds); }
  // Keeps what recurrent layers know at the end of a sequence's prompt for others.
  void keep_snapshot(const Sequence& s, const std::function<void(int from, int to)>& copy) {
    cache_.snapshot(s.hold, s.keys, copy);
  }
  // Begins the first of a sequence's siblings, whose whole prompt has just been committed, with its rows. Returns it,
  // to be given a token before the next step. Throws before anything has changed.
  Sequence& fork(Sequence& from);
  // Ends an answer, or any one of the request, and gives its blocks back; its siblings wait for a turn of their own.
  // nullptr when there is none. Allocates nothing.
  std::unique_ptr<Sequence> remove(RequestId id, std::optional<int> answer = {});

  const Cache& cache() const { return cache_; }
  const SchedulerStatistics& statistics() const { return statistics_; }
  SchedulerLoad load() const;
  void check_invariants() const;

 private:
  struct Plan {
    std::vector<int> rows;  // of each that runs
    int rows_left;
    std::vector<CacheCopy> copies;
  };
  void admit();
  void begin(Sequence& sequence);
  bool has_room_for(const Sequence& next) const;
  size_t most_running() const;
  void plan_decoding(Plan& plan);
  void plan_prompts(Plan& plan);
  bool plan_rows(size_t index, int rows, Plan& plan);
  void make_keys(Sequence& sequence, int tokens);
  void release(Sequence& sequence);
  std::unique_ptr<Sequence> take_out(RequestId id, std::optional<int> answer);

  SchedulerOptions options_;
  Cache cache_;
  KeyMaker key_maker_;
  RowBudget budget_;
  FairQueue queue_;                               // those that have not begun
  std::vector<std::unique_ptr<Sequence>> begun_;  // in that order
  size_t running_ = 0;                            // so many of them, the first ones, run
  size_t sequences_ = 0;                          // all, siblings, too
  SchedulerStatistics statistics_;
};

}  // namespace cachalot
