// What `inspect` finds out about a model: from the headers of a checkpoint, or from a config.json alone.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/commands/decode_speed.h"
#include "cli/options.h"
#include "model/parameters.h"

namespace cachalot {

// One way of holding the weights, and what a run takes with it.
struct MemoryChoice {
  std::string weights;  // as --weights spells it
  DType held_as;        // of most of the bytes
  DType kv;
  MemoryPlan plan;  // at the context that is asked for, else at the checkpoint's own
  int context = 0;  // with so many tokens it fits; 0: it does not fit
};

struct Inspection {
  std::filesystem::path path;
  std::optional<Checkpoint> checkpoint;  // none: only the config is there
  std::optional<Config> config;          // always there once it is opened
  std::string architecture, family;      // family is empty when none serves it
  bool has_tokenizer = false;

  // Without a checkpoint: what it will be like, its matrices in the types that the config states. Without a family:
  // what the files hold.
  std::optional<ParameterCounts> counts;  // none without a family
  int64_t stored_elements = 0, stored_bytes = 0;
  std::map<std::string_view, int64_t> bytes_of_type;
  std::map<const StoredTensor*, DType> held_as;  // of what a run loads; empty when it cannot be bound

  // With a family only.
  std::optional<ModelSpec> spec;  // with the modules that are stored
  int context = 0;                // asked for, else the checkpoint's own; 0: unknown
  DType kv = DType::bf16;
  int64_t cache_bytes_per_token = 0, cache_bytes = 0, full_cache_bytes = 0;  // without modules; at both contexts
  int64_t mtp_cache_bytes_per_token = 0;
  int64_t state_bytes = 0;           // of recurrent layers, without modules: of one sequence, however long
  std::vector<MemoryChoice> memory;  // --weights auto first; with the modules
  int64_t available_bytes = 0;
  TokenReads token_reads;               // without modules
  std::optional<double> token_seconds;  // where they were measured

  std::vector<std::string> reasons;  // why it does not run as asked for; empty: it does

  // Whether it does, or would if the weights were here, which is a reason of its own.
  bool decodes() const { return spec && spec->causal() && reasons.size() == (checkpoint ? 0 : 1); }
};

// `path`: a checkpoint, a folder that lacks the weights, or a config.json. Throws Error when there is neither a
// checkpoint nor a config to be read; what keeps a model from running is told in `reasons`.
Inspection inspect_model(const std::filesystem::path& path, const ModelOptions& options);

}  // namespace cachalot
