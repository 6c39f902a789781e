// A model ready to run: checkpoint, tokenizer, chat template, defaults and the transformer with its Ops.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "formats/embedding_form.h"
#include "load/sampling_defaults.h"
#include "model/family.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/tokenizer.h"

namespace cachalot {

// Text side of a checkpoint; opens no weights.
struct TextModel {
  Tokenizer tokenizer;
  // None for a base model without one. One that cannot be read or parsed says so when it is used.
  std::optional<ChatTemplate> chat_template;
  // How answers are written: of the family's forms of calls the one that the template writes itself.
  ReplyFormat reply;

  static TextModel read(const Checkpoint& checkpoint, Families families = all_families());
};

// generation_config.json (or GGUF's keys): sampling defaults and every token that ends an answer.
struct GenerationDefaults {
  SamplingParams sampling;
  std::optional<int> max_tokens;
  std::vector<UnusableDefault> unusable;  // of the sampling defaults
  std::vector<int32_t> end_tokens;

  // The union of generation_config.json, config.json and the tokenizer, of a GGUF file also the tokens whose text is
  // known to end an answer; do_sample false means temperature 0.
  static GenerationDefaults read(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                                 Families families = all_families());
};

struct LoadOptions {
  WeightsPolicy weights;
  std::optional<DType> kv;  // none: f32 with f32 weights, else bf16
  int context = 0;          // 0 = the checkpoint's own, bounded by memory
  int cache_tokens = 0;     // over all sequences, where that is to be more than `context`
  // For a server: where cache_tokens is 0, as many as all sequences, or eight, can fill and half of the memory that
  // is left holds.
  bool roomy_cache = false;
  // What will run: memory is planned for that. Snapshots: where a conversation's last prompt ends, and its answer.
  SchedulerOptions scheduler = {.max_rows = 512, .max_sequences = 1, .state_snapshots = 2};
  bool scores = false;           // score() will run instead: one sequence, logits of all rows
  bool prompt_logprobs = false;  // requests may ask for those
  bool progress = true;          // a bar on stderr when loading takes over a second
  std::function<void(int64_t done, int64_t total)> loading;  // hears the bytes of weights; none: nobody
  // How the engine will guess tokens; none: mtp where the checkpoint has that module, else off. Only mtp loads it.
  std::optional<Speculation> speculation = Speculation::off;
  bool text = true;  // tokenizer, template and generation defaults, too; what only computes needs none
  Families families = all_families();
};

// What loading and running will take, known before anything is allocated. Caches and activations are committed page
// by page when they are first used, so a short run takes less.
struct MemoryPlan {
  int64_t weight_bytes = 0;
  int64_t cache_bytes_per_token = 0;
  int64_t cache_bytes = 0;       // for `cache_tokens` tokens of the sequences that may run
  int64_t activation_bytes = 0;  // an upper bound for one step, its logits among them
  int64_t available_bytes = 0;
  int context = 0;
  int cache_tokens = 0;
  SchedulerOptions scheduler;
  int64_t total_bytes() const { return weight_bytes + cache_bytes + activation_bytes; }
  bool fits() const { return total_bytes() <= available_bytes; }
};

// What a run with a context of so many tokens takes, whether that is there or not.
MemoryPlan memory_at(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& options,
                     DType kv, int context);
// The same at the stated context; where none is stated, at the checkpoint's own, halved until it fits or is small.
// Throws Error when the model knows fewer positions. With a roomy cache, what is left is shared out then.
MemoryPlan memory_for(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& options,
                      DType kv);

// Positions up to which the model's predictions are as good as it was trained for: those that the checkpoint
// promises, and with scaled RoPE what the scaling reaches (YaRN: its original length times the factor; linear and
// dynamic: the promised length times the factor).
int64_t trained_tokens(const ModelSpec& spec);
// A line on stderr when a sequence may grow longer.
void warn_beyond_training(const ModelSpec& spec, int tokens);

// Throws Error with the numbers when a stated context does not fit; without one, the context is cut to what fits.
MemoryPlan plan_memory(const ModelSpec& spec, const std::vector<BoundTensor>& tensors, const Ops& ops,
                       const LoadOptions& options, DType kv);

struct LoadedModel {
  // Owned in this order: the transformer's weights belong to ops.
  Checkpoint checkpoint;
  const Family* family = nullptr;
  std::optional<TextModel> text;  // none and no defaults unless LoadOptions::text
  GenerationDefaults defaults;
  EmbeddingForm embedding;  // how the checkpoint asks for embeddings to be made
  std::unique_ptr<Ops> ops;
  std::unique_ptr<Transformer> transformer;
  MemoryPlan plan;
  DType kv = DType::bf16;
  Speculation speculation = Speculation::off;
  bool prompt_logprobs = false;
  double load_ms = 0;

  // On the machine that `ops` is.
  static LoadedModel load(const std::filesystem::path& path, const LoadOptions& options, std::unique_ptr<Ops> ops);
  EngineOptions engine_options() const;
};

}  // namespace cachalot
