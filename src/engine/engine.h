// Runs many requests at once on one model: continuous batching over a paged cache. One thread calls it.
//
//   const RequestId id = engine.submit({.prompt = tokens, .end_tokens = {2}});
//   while (!engine.idle())
//     for (const Event& event : engine.step()) …
#pragma once

#include "engine/scheduler.h"
#include "model/transformer.h"

namespace cachalot {

struct EngineOptions {
  int context = 4096;       // most tokens of one sequence, prompt and answer
  int cache_tokens = 4096;  // tokens that the cache holds over all sequences (at least `context`)
  DType kv = DType::bf16;   // f32 or bf16
  SchedulerOptions scheduler;
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
  Event answer(Sequence& sequence, std::span<const float> logits_W);

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
