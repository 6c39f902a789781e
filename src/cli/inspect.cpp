// cachalot inspect: what a checkpoint holds, what it takes to run it here, and why it may not run. Reads headers
// only.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/thread_pool.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "formats/gguf.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  ModelOptions model;
  bool tensors = false, json = false;
};

struct Inspection {
  std::string architecture, family;               // family is empty when none serves it
  int64_t parameters = 0, active_parameters = 0;  // active: used for one token
  int64_t stored_bytes = 0;                       // of the weights, as they are in the files
  std::map<const StoredTensor*, DType> held_as;   // of what a run would load; empty when it cannot be bound
  std::map<std::string_view, int64_t> bytes_of_type;
  std::optional<ModelSpec> spec;
  MemoryPlan memory;  // weights and cache are known once the tensors are bound
  int context = 0;    // asked for, else the checkpoint's own; 0: unknown
  DType kv = DType::bf16;
  bool has_tokenizer = true;
  std::vector<std::string> reasons;  // why it does not run; empty: it does
};

bool is_expert(std::string_view tensor) {
  return tensor.find(".experts.") != tensor.npos || tensor.find("_exps.") != tensor.npos;
}

// Experts per token / experts, for checkpoints with experts; 1 for others.
double active_share(const Config& config) {
  const auto number = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      const auto& json = config.json();
      if (json.contains(key) && json[key].is_number_integer() && json[key] > 0) return json[key].get<double>();
    }
    return 0.0;
  };
  const double experts = number({"n_routed_experts", "num_experts", "num_local_experts"});
  const double active = number({"num_experts_per_tok"});
  return experts > 0 && active > 0 ? std::min(1.0, active / experts) : 1;
}

void count_parameters(const Checkpoint& checkpoint, Inspection& i) {
  int64_t experts = 0;
  for (const StoredTensor& t : checkpoint.tensors()) {
    if (!i.held_as.empty() && !i.held_as.contains(&t)) continue;  // ignored: a copy, or computed from the config
    i.parameters += t.elements();
    i.stored_bytes += static_cast<int64_t>(t.bytes.size());
    i.bytes_of_type[name(t.dtype)] += static_cast<int64_t>(t.bytes.size());
    if (is_expert(t.name)) experts += t.elements();
  }
  const double active = static_cast<double>(experts) * active_share(checkpoint.config());
  i.active_parameters = i.parameters - experts + static_cast<int64_t>(active);
}

// Whether there is a tokenizer of any kind, readable or not. Without one a model still computes from token ids.
bool holds_tokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.gguf()) return !checkpoint.gguf()->text_or("tokenizer.ggml.model", "").empty();
  std::error_code code;
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json", "qwen.tiktoken"})
    if (std::filesystem::exists(checkpoint.path() / file, code)) return true;
  return false;
}

// Binds the tensors and plans the memory of a model whose family is known. Throws Error with the reason that it
// cannot run.
void plan_run(const Checkpoint& checkpoint, const InspectOptions& o, Inspection& i) {
  const Family& family = family_of(checkpoint.config());
  i.family = family.name;
  i.spec = family.spec(checkpoint.config());
  keep_stored_mtp(family, checkpoint, *i.spec);
  if (i.context == 0) i.context = i.spec->context;
  const LoadOptions load = o.model.load_options();
  i.kv = load.kv.value_or(load.weights.fixed == DType::f32 ? DType::f32 : DType::bf16);

  const CpuOps ops(best_kernels(), 1);
  const CacheLayout layout = cache_layout(*i.spec);
  for (const auto& layer : layout.layers)
    i.memory.cache_bytes_per_token += ops.cache_block_bytes(layer, i.kv) / kBlockTokens;
  i.memory.cache_bytes = cache_bytes(ops, layout, i.context, load.max_rows, i.kv);

  const auto tensors = bind_tensors(family, *i.spec, checkpoint, load.weights);
  for (const BoundTensor& t : tensors) {
    for (const StoredTensor* source : t.sources) i.held_as[source] = t.held_as;
    i.memory.weight_bytes += t.held_bytes(ops);
  }
  plan_memory(*i.spec, tensors, ops, load, i.kv);  // refuses what does not fit
  i.has_tokenizer = holds_tokenizer(checkpoint);
  if (i.has_tokenizer) TextModel::read(checkpoint);
}

Inspection inspect_checkpoint(const Checkpoint& checkpoint, const InspectOptions& o) {
  Inspection i;
  const auto classes = checkpoint.config().texts("architectures");
  i.architecture = classes.empty() ? checkpoint.config().text_or("model_type", "unknown") : classes.front();
  i.context = o.model.context;
  i.memory.available_bytes = available_memory_bytes();
  try {
    plan_run(checkpoint, o, i);
  } catch (const Error& reason) { i.reasons.emplace_back(reason.what()); }
  const auto& own = checkpoint.config().json();
  if (i.context == 0 && own.contains("max_position_embeddings") && own["max_position_embeddings"].is_number_integer())
    i.context = checkpoint.config().integer_or("max_position_embeddings", 0);
  count_parameters(checkpoint, i);
  return i;
}

Json shape_facts(const ModelSpec& s) {
  const LayerSpec& layer = s.layers.front();
  const GqaSpec* gqa = layer.gqa();
  return {{"layers", s.layers.size()},
          {"width", s.width},
          {"heads", layer.heads()},
          {"kv_heads", gqa ? gqa->kv_heads : layer.heads()},
          {"head_dim", gqa ? gqa->head_dim : layer.mla()->nope_dim + layer.mla()->rope.dim},
          {"ffn", layer.dense() ? layer.dense()->hidden : layer.moe()->expert.hidden},
          {"vocabulary", s.vocab},
          {"tied_head", s.tied_head},
          {"context", s.context}};
}

Json report(const Checkpoint& checkpoint, const Inspection& i) {
  Json tensors = Json::array();
  for (const StoredTensor& t : checkpoint.tensors()) {
    const auto held = i.held_as.find(&t);
    tensors.push_back({{"name", t.name},
                       {"dtype", name(t.dtype)},
                       {"shape", t.shape},
                       {"bytes", t.bytes.size()},
                       {"held_as", held == i.held_as.end() ? Json(nullptr) : Json(name(held->second))}});
  }
  const auto known = [](bool is_known, int64_t value) { return is_known ? Json(value) : Json(nullptr); };
  const bool spec = i.spec.has_value(), bound = !i.held_as.empty();
  return {{"architecture", i.architecture},
          {"family", i.family.empty() ? Json(nullptr) : Json(i.family)},
          {"format", checkpoint.container() == Container::gguf ? "gguf" : "safetensors"},
          {"parameters", i.parameters},
          {"active_parameters", i.active_parameters},
          {"weight_bytes", i.stored_bytes},
          {"held_bytes", known(bound, i.memory.weight_bytes)},
          {"kv_bytes_per_token", known(spec, i.memory.cache_bytes_per_token)},
          {"kv_bytes", known(spec, i.memory.cache_bytes)},
          {"context", known(i.context > 0, i.context)},
          {"available_bytes", i.memory.available_bytes},
          {"shape", spec ? shape_facts(*i.spec) : Json(nullptr)},
          {"tokenizer", i.has_tokenizer},
          {"runs", i.reasons.empty()},
          {"reasons", i.reasons},
          {"tensors", tensors}};
}

void line(std::string_view label, const std::string& value) { fmt::print("{:<14}{}\n", label, printable(value)); }

std::string attention_text(const ModelSpec& s) {
  const LayerSpec& first = s.layers.front();
  if (const MlaSpec* a = first.mla())
    return fmt::format("{} heads of {} on one latent of {} + {}", a->heads, a->nope_dim + a->rope.dim, a->kv_rank,
                       a->rope.dim);
  const GqaSpec& a = *first.gqa();
  std::string text = fmt::format("{} heads of {} on {} kv heads", a.heads, a.head_dim, a.kv_heads);
  const auto windowed =
      std::count_if(s.layers.begin(), s.layers.end(), [](const LayerSpec& l) { return l.window() > 0; });
  if (windowed > 0) text += fmt::format(", {} of {} layers with a window", windowed, s.layers.size());
  return text;
}

void print_summary(const Checkpoint& checkpoint, const Inspection& i) {
  line("model", checkpoint.path().string());
  line("architecture", i.family.empty() ? i.architecture : fmt::format("{} (family {})", i.architecture, i.family));
  const std::string active =
      i.active_parameters < i.parameters ? fmt::format(", {} active per token", count_text(i.active_parameters)) : "";
  line("parameters", count_text(i.parameters) + active);
  std::vector<std::string> types;
  types.reserve(i.bytes_of_type.size());
  for (const auto& [type, bytes] : i.bytes_of_type) types.push_back(fmt::format("{} {}", type, bytes_text(bytes)));
  line("weights", fmt::format("{} in {} tensors ({})", bytes_text(i.stored_bytes), checkpoint.tensors().size(),
                              fmt::join(types, ", ")));
  if (i.spec) {
    const ModelSpec& s = *i.spec;
    line("shape", fmt::format("{} layers, width {}, ffn {}, vocabulary {}{}", s.layers.size(), s.width,
                              s.layers.front().dense() ? s.layers.front().dense()->hidden
                                                       : s.layers.front().moe()->expert.hidden,
                              s.vocab, s.tied_head ? ", tied head" : ""));
    line("attention", attention_text(s));
    line("context",
         fmt::format(
             "{} tokens{}", i.context,
             i.context == s.context ? "" : fmt::format(" asked for, {} promised by the checkpoint", s.context)));
    line("cache", fmt::format("{} per token in {}, {} at {} tokens", bytes_text(i.memory.cache_bytes_per_token),
                              name(i.kv), bytes_text(i.memory.cache_bytes), i.context));
  }
  if (!i.held_as.empty())
    line("memory", fmt::format("{} of weights + {} of cache; {} available here", bytes_text(i.memory.weight_bytes),
                               bytes_text(i.memory.cache_bytes), bytes_text(i.memory.available_bytes)));
  line("runs", !i.reasons.empty() ? "no" : i.has_tokenizer ? "yes" : "yes, on token ids: it has no tokenizer");
  for (const std::string& reason : i.reasons) fmt::print("  {}\n", printable(reason));
}

void print_tensors(const Checkpoint& checkpoint, const Inspection& i) {
  size_t width = 4;
  for (const StoredTensor& t : checkpoint.tensors()) width = std::max(width, std::min<size_t>(60, t.name.size()));
  fmt::print("\n{:<{}}  {:<8} {:<18} {:>10}  {}\n", "name", width, "stored", "shape", "bytes", "held as");
  for (const StoredTensor& t : checkpoint.tensors()) {
    const auto held = i.held_as.find(&t);
    fmt::print("{:<{}}  {:<8} {:<18} {:>10}  {}\n", printable(t.name), width, name(t.dtype),
               fmt::format("[{}]", fmt::join(t.shape, ", ")), bytes_text(static_cast<int64_t>(t.bytes.size())),
               held != i.held_as.end() ? name(held->second) : "-");
  }
}

int inspect(const InspectOptions& o) {
  const Checkpoint checkpoint = Checkpoint::open(resolve_model(o.model.model));
  const Inspection inspection = inspect_checkpoint(checkpoint, o);
  if (o.json) {
    fmt::print("{}\n", report(checkpoint, inspection).dump(-1, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  print_summary(checkpoint, inspection);
  if (o.tensors) print_tensors(checkpoint, inspection);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& program, Work& chosen) {
  auto o = std::make_shared<InspectOptions>();
  CLI::App& command = *program.add_subcommand("inspect", "Show what a checkpoint holds and whether it runs here");
  o->model.add_to(command);
  command.remove_option(command.get_option("--threads"));  // nothing is computed
  command.add_flag("--tensors", o->tensors, "list every tensor (JSON always does)");
  add_json_flag(command, o->json);
  command.footer(
      "Examples:\n  cachalot inspect ./Qwen3-0.6B --context 32768\n  cachalot inspect model.gguf --tensors");
  when_chosen(command, chosen, o, inspect);
}

}  // namespace cachalot
