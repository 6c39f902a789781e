// Runs many requests at once on one model: continuous batching over a paged cache. One thread calls it.
//
//   const RequestId id = engine.submit({.prompt = tokens, .end_tokens = {2}});
//   while (!engine.idle())
//     for (const Event& event : engine.step()) …
#pragma once

#include "engine/scheduler.h"
#include "engine/speculative.h"
#include "model/transformer.h"

namespace cachalot {

struct EngineOptions {
  int context = 4096;       // most tokens of one sequence, prompt and answer
  int cache_tokens = 4096;  // tokens that the cache holds over all sequences (at least `context`)
  DType kv = DType::bf16;   // f32, bf16 or q8_0
  SchedulerOptions scheduler;
  Speculation speculation = Speculation::off;  // mtp: the model must have been loaded with its module
  int lookup_drafts = 4;                       // most tokens that Speculation::lookup guesses at once
};

class Engine {
 public:
  // Borrows `ops` and `model` for its life.
  Engine(Ops& ops, const Transformer& model, EngineOptions options);

  // Throws Error when the prompt is empty, too long for the context, or holds an id outside the vocabulary, or when a
  // sampling parameter is out of range.
  RequestId submit(Request request);
  // The request ends with FinishReason::cancelled at the next step; nothing happens when it has ended already.
  void cancel(RequestId id);
  bool idle() const { return scheduler_.idle() && pending_.empty(); }

  // One forward pass. Events of finished requests come exactly once.
  std::vector<Event> step();

  const EngineOptions& options() const { return options_; }

 private:
  using Work = Scheduler::Work;
  Batch batch_of(std::span<const Work> works) const;
  Event answer(Sequence& sequence, std::optional<int32_t> token);
  int take_answers(const Work& work, const Tensor& logits_TW, int64_t first_row, std::vector<Event>& events);
  void draft(std::span<const Work> works, std::span<const int> kept, const Batch& batch, const Tensor& hidden_TD);
  void draft_by_module(std::span<const Work> works, std::span<const int> kept, const Batch& batch,
                       const Tensor& hidden_TD);

  Ops& ops_;
  const Transformer& model_;
  EngineOptions options_;
  Scheduler scheduler_;
  std::unique_ptr<KvCache> cache_;
  std::vector<Event> pending_;
  RequestId last_id_ = 0;
};

// Blocks per group for a cache that holds `tokens` tokens of one sequence processed in steps of at most `step_rows`.
std::vector<int> blocks_for(const CacheLayout& layout, int tokens, int step_rows);
// Bytes of such a cache.
int64_t cache_bytes(const Ops& ops, const CacheLayout& layout, int tokens, int step_rows, DType kv);

}  // namespace cachalot
