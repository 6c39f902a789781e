// The measured phases of `bench`: prefill and decode of random tokens at a depth, with the work that each step must
// do.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/commands/bench_probes.h"
#include "load/loaded_model.h"

namespace cachalot {

struct BenchPlan {
  int prefill = 512;  // tokens of the measured prompt
  int decode = 128;   // tokens made one after the other
  int depth = 0;      // tokens that are in the cache before
  int batch = 1;      // sequences side by side
  int repeat = 5;
  int tokens_per_sequence() const { return depth + std::max(prefill, decode); }
  // What runs, and the tokens that its cache holds, in whole blocks.
  SchedulerOptions scheduler() const;
  int64_t cache_tokens() const;
};

// What a step cannot do without: bytes read from memory (weights once, the visible cache once) and operations (two
// per multiply-add of matrices and attention).
struct StepWork {
  double bytes = 0, ops = 0;
  StepWork& operator+=(const StepWork& other) {
    bytes += other.bytes;
    ops += other.ops;
    return *this;
  }
};

// Counts the work of a model's steps.
class WorkCounter {
 public:
  WorkCounter(const LoadedModel& model, const CpuOps& cpu, const WeightsPolicy& policy);
  // `rows` tokens of one sequence from position `first` on; with the head for `logit_rows` of them. The weights are
  // counted by weights().
  StepWork rows(int first, int rows, int logit_rows) const;
  // Reading the weights once for a step of so many rows; of the routed experts, those that some row is expected to
  // use.
  StepWork weights(int rows) const;
  // What most of the operations multiply weights with: f32, bf16 or i8.
  DType inputs() const { return inputs_; }

 private:
  const ModelSpec& spec_;
  std::map<double, double> weight_bytes_;      // by the share of them that a row uses
  double ops_per_row_ = 0, head_ops_ = 0;      // of matrices
  std::vector<double> cache_bytes_per_token_;  // by layer
  DType inputs_ = DType::f32;
};

// One measured slice of a repetition with the limits around it.
struct Slice {
  double seconds = 0;
  int tokens = 0;
  StepWork work;
  Limits limits;  // mean of the probes before and after
};

struct PhaseResult {
  std::string phase;  // "prefill" or "decode"
  Spread tokens_per_s;
  double bytes_per_s = 0, ops_per_s = 0;  // achieved, over all repetitions
  double share_of_limit = 0;              // time that the limiting resource needs / time taken, median of the slices
  std::string limit;                      // "bandwidth" or "arithmetic"
};
// `repetitions`: the slices of each.
PhaseResult summarise(std::string phase, const std::vector<std::vector<Slice>>& repetitions);

// Runs steps over a cache of its own, filled up to `depth` first. As the engine does, windowed layers keep the blocks
// of their window only, and a token is chosen after each step of a sequence, with the checkpoint's own sampling; the
// one that follows is random all the same.
class BenchRunner {
 public:
  BenchRunner(LoadedModel& model, const BenchPlan& plan, const WorkCounter& counter);

  // One repetition each. `probe` is called before, after, and about every second in between.
  std::vector<Slice> prefill(const std::function<Limits()>& probe);
  std::vector<Slice> decode(const std::function<Limits()>& probe);

 private:
  struct Part {
    int sequence, first, rows;
  };
  void step(const std::vector<Part>& parts, bool with_head);
  void hold(int sequence, int first, int rows);
  void choose(const std::vector<Part>& parts, const Tensor& logits_TW);
  void fill(int sequence, int first, int tokens, bool with_head);
  StepWork work_of(const std::vector<Part>& parts, bool with_head) const;
  std::vector<Slice> measure(const std::vector<std::vector<Part>>& steps, const std::function<Limits()>& probe,
                             const std::function<bool(size_t)>& with_head);

  LoadedModel& model_;
  BenchPlan plan_;
  const WorkCounter& counter_;
  const CacheLayout layout_;
  std::vector<BlockPool> pools_;  // per cache group
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<States> states_;  // a slot per sequence; null where no layer keeps one
  std::vector<float> host_logits_;
  SamplerRoom sampler_room_;
  // By sequence:
  std::vector<std::vector<std::vector<int32_t>>> tables_;  // per cache group
  std::vector<std::vector<int32_t>> tokens_;
  std::vector<Sampler> samplers_;
};

// Throws Error unless one pass over some tokens and one pass per token give the same logits, bit for bit, and all
// finite: a model that computes wrongly is not worth timing.
void check_results(LoadedModel& model);

// The most memory that this process has held so far.
int64_t peak_memory_bytes();

}  // namespace cachalot
