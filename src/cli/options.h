// Options that several commands share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "load/loaded_model.h"
#include "ops/cpu/cpu_ops.h"

namespace cachalot {

// The MODEL argument alone, for commands that read no weights, and whether it is fetched where it is not here.
void add_model_argument(Command& command, std::string& model, bool& pull, bool required = true);
void add_json_flag(Command& command, bool& json);

struct SpeculationOptions;

// Of every command that loads a model.
struct ModelOptions {
  std::string model;
  std::string weights = "auto";
  std::string kv;     // empty: f32 with f32 weights, else bf16
  int threads = 0;    // 0: default_threads()
  int context = 0;    // 0: the checkpoint's own, bounded by memory
  bool pull = false;  // what is not here is fetched from the hub

  // `model_required` is false where another option can stand in for the model.
  void add_to(Command& command, bool model_required = true);
  LoadOptions load_options() const;
  std::unique_ptr<CpuOps> make_ops() const;
  // Resolves the name, loads, and says on stderr when weights are held in another type than asked for.
  LoadedModel load(const LoadOptions& options) const;
  // For score(). `text`: with tokenizer and template, which a checkpoint that only computes need not have. `chunk`:
  // tokens of one pass, or 0.
  LoadedModel load_to_score(bool text, int chunk = 0) const;
  // To generate, one sequence at a time.
  LoadedModel load(const SpeculationOptions& speculation) const;
};

// Of the commands that generate.
struct SpeculationOptions {
  std::string form = "auto";

  void add_to(Command& command);
  std::optional<Speculation> chosen() const;  // none: auto
};

struct SamplingOptions {
  std::optional<int> max_tokens, top_k;
  std::optional<double> temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
  std::optional<uint64_t> seed;
  std::vector<std::string> stops;

  void add_to(Command& command);
  // What was given replaces the checkpoint's defaults, and a line on stderr says which of the others cannot be used;
  // a seed that was not given is drawn. Throws Error when out of range.
  SamplingParams over(const GenerationDefaults& defaults) const;
};

}  // namespace cachalot
