// A model ready to run: checkpoint, tokenizer, chat template, defaults and the transformer with its Ops.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/family.h"
#include "ops/cpu_ops.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace cachalot {

// What a name on the command line means: a folder or .gguf file that exists; else a model that ships (`models/NAME`
// beside the program or in the installation), one in a folder of CACHALOT_MODELS (separated by ':'), or a repository
// in the local Hugging Face cache ("Qwen/Qwen3-0.6B"). Throws Error that lists where it looked.
std::filesystem::path resolve_model(std::string_view name);

// Text side of a checkpoint; opens no weights.
struct TextModel {
  Tokenizer tokenizer;
  // None for a base model without one. One that cannot be read or parsed says so when it is used.
  std::optional<ChatTemplate> chat_template;

  static TextModel read(const Checkpoint& checkpoint);
};

// generation_config.json (or GGUF's keys): sampling defaults and every token that ends an answer.
struct GenerationDefaults {
  SamplingParams sampling;
  std::optional<int> max_tokens;
  std::vector<int32_t> end_tokens;

  // The union of generation_config.json, config.json and the tokenizer; do_sample false means temperature 0.
  static GenerationDefaults read(const Checkpoint& checkpoint, const Tokenizer& tokenizer);
};

struct LoadOptions {
  WeightsPolicy weights;
  std::optional<DType> kv;  // none: f32 with f32 weights, else bf16
  int threads = 0;          // 0 = default_threads()
  int context = 0;          // 0 = the checkpoint's own, bounded by memory
  int max_rows = 512;       // rows of one step
  bool progress = true;     // a bar on stderr when loading takes over a second
  // How the engine will guess tokens; none: mtp where the checkpoint has that module, else off. Only mtp loads it.
  std::optional<Speculation> speculation = Speculation::off;
  bool text = true;  // tokenizer, template and generation defaults, too; what only computes needs none
};

// What loading and running will take, known before anything is allocated.
struct MemoryPlan {
  int64_t weight_bytes = 0;
  int64_t cache_bytes_per_token = 0;
  int64_t cache_bytes = 0;       // at `context`
  int64_t activation_bytes = 0;  // an upper bound for one step
  int64_t available_bytes = 0;
  int context = 0;
  int64_t total_bytes() const { return weight_bytes + cache_bytes + activation_bytes; }
  bool fits() const { return total_bytes() <= available_bytes; }
};

// What a run with a cache of `context` tokens takes, whether that is there or not.
MemoryPlan memory_at(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& options,
                     DType kv, int context);
// The same at the stated context; where none is stated, at the checkpoint's own, halved until it fits or is small.
// Throws Error when the model knows fewer positions.
MemoryPlan memory_for(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& options,
                      DType kv);

// Throws Error with the numbers when a stated context does not fit; without one, the context is cut to what fits.
MemoryPlan plan_memory(const ModelSpec& spec, const std::vector<BoundTensor>& tensors, const Ops& ops,
                       const LoadOptions& options, DType kv);

// Memory that this process may still take: MemAvailable, bounded by its cgroup.
int64_t available_memory_bytes();

struct LoadedModel {
  // Owned in this order: the transformer's weights belong to ops.
  Checkpoint checkpoint;
  std::optional<TextModel> text;  // none and no defaults unless LoadOptions::text
  GenerationDefaults defaults;
  std::unique_ptr<CpuOps> ops;
  std::unique_ptr<Transformer> transformer;
  MemoryPlan plan;
  DType kv = DType::bf16;
  Speculation speculation = Speculation::off;
  double load_ms = 0;

  static LoadedModel load(const std::filesystem::path& path, const LoadOptions& options);
  EngineOptions engine_options() const;
};

}  // namespace cachalot
