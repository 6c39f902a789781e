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
  bool weigh_drafts = false;                   // guess only while it pays, by the clock (engine/draft_rule.h)
  bool prompt_logprobs = true;                 // requests may ask for those: memory was planned for it
  std::function<double()> seconds;             // a clock; none: the system's, steady
};

class Engine {
 public:
  // Borrows `ops` and `model` for its life.
  Engine(Ops& ops, const Transformer& model, EngineOptions options);

  // Throws Error when the prompt is empty, too long for the context, or holds an id outside the vocabulary, or when a
  // sampling parameter is out of range. From any thread, also during a step: it reads what never changes.
  void check(const Request& request) const;
  // Throws what check() does.
  RequestId submit(const Request& request);
  // The request, or one of its answers, ends with FinishReason::cancelled at the next step; nothing happens when it
  // has ended already.
  void cancel(RequestId id, std::optional<int> answer = {});
  bool idle() const { return scheduler_.idle() && pending_.empty(); }

  // One forward pass. The end of an answer comes exactly once.
  //
  // What fails ends the requests that it was done for, with FinishReason::error and the reason: the sampler its own,
  // the model all of the step. The others go on as if those had never been. Throws, when there is no memory left to
  // plan the step, before it has begun.
  std::vector<Event> step();

  const EngineOptions& options() const { return options_; }
  const Cache& cache() const { return scheduler_.cache(); }
  const SchedulerStatistics& statistics() const { return scheduler_.statistics(); }
  SchedulerLoad load() const { return scheduler_.load(); }
  // CHECKs that no block and no slot is lost or held by two that do not know of each other.
  void check_invariants() const { scheduler_.check_invariants(); }

 private:
  static constexpr const char* kNotANumber =
      "the model's output is not a number (NaN): the weights or the arithmetic are broken";
  using Work = Scheduler::Work;  // its sequence is nullptr when the request has ended in this step
  Batch batch_of(std::span<const Work> works) const;
  BlockKey root_key(const Request& request);
  void copy(const CacheCopy& copy);
  void reserve_events(const Scheduler::Step& step);
  // What the clock says of a step is about, where all of its sequences decode; of others there is no number.
  struct Decoded {
    int sequences = 0, tokens = 0;
    bool drafting = true;
  };
  Decoded compute(Scheduler::Step& step);
  static Event news_of(const Sequence& sequence);  // what every event of an answer says
  Event next(Sequence& sequence, std::span<const float> logits_W, SamplerRoom& room) const;
  void begin_siblings(Sequence& sequence, std::span<const float> logits_W);
  std::optional<Choice> choose(Sequence& s, std::span<const float> logits_W, SamplerRoom& room) const;
  // What the rows of one work's sequence made of it.
  struct Taken {
    std::vector<std::vector<TokenLogprob>> prompt_logprobs;
    std::span<const float> logits_TW;  // of its choosing rows
    std::vector<Event> events;
    int kept = 0;                // rows that hold tokens of the text
    std::exception_ptr failure;  // of the sampler
  };
  struct PromptRow;
  void tell_prompts(std::span<const Work> works, const Batch& batch, const Tensor& hidden_TD, std::span<Taken> taken);
  void tell_prompt_rows(std::span<const PromptRow> rows, std::span<const Work> works, const Tensor& hidden_TD,
                        std::span<Taken> taken);
  void pool_prompts(std::span<const Work> works, const Batch& batch, const Tensor& hidden_TD, std::span<Taken> taken);
  void pool_prompt(const Work& work, std::span<const float> rows_TD, Taken& taken) const;
  void take_answers(const Work& work, Taken& taken, SamplerRoom& room) const;
  void take_all_answers(std::span<const Work> works, std::span<const float> logits_TW, std::span<Taken> taken);
  int finish(Work& work, Taken& taken);
  void end(Work& work);
  void end_with_error(Work& work, const std::string& reason);
  void end_all_with_error(Work& work, const std::string& reason);
  bool may_draft(Sequence& sequence) const;
  void draft(std::span<const Work> works, std::span<const int> kept, const Batch& batch, const Tensor& hidden_TD);
  void draft_by_module(std::span<const Work> works, std::span<const int> kept, const Batch& batch,
                       const Tensor& hidden_TD);

  Ops& ops_;
  const Transformer& model_;
  EngineOptions options_;
  Scheduler scheduler_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<States> states_;  // null where no layer keeps one
  KeyMaker key_maker_;
  std::vector<float> host_logits_;          // where the Ops' own lie out of the host's reach
  std::vector<SamplerRoom> sampler_rooms_;  // a thread's each
  std::vector<Event> pending_;              // news that no step has returned yet
  DraftRule draft_rule_;
  bool drafting_ = true;  // whether the last step was to guess for the next
  RequestId last_id_ = 0;
};

// Rows whose logits are alive at once where log-probabilities of prompts are told.
int told_at_once(int vocab);

// Bytes of a cache that holds `tokens` tokens of all sequences that may run, and of the states that the options ask
// for.
int64_t cache_bytes(const Ops& ops, const CacheLayout& layout, int64_t tokens, const SchedulerOptions& options,
                    DType kv);

}  // namespace cachalot
