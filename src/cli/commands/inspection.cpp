#include "cli/commands/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/available_memory.h"
#include "base/error.h"
#include "cli/terminal.h"
#include "formats/foreign.h"
#include "formats/gguf/file.h"
#include "formats/huggingface/quantization.h"
#include "model/gguf_config.h"
#include "ops/weight_types.h"

namespace cachalot {

namespace fs = std::filesystem;

namespace {

// -- What is there

bool holds_safetensors(const fs::path& folder) {
  const auto names = names_in(folder);
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".safetensors") && !is_adapter(name); });
}

// Opens the checkpoint or, when there is none, the config.
Inspection open_model(const fs::path& path) {
  Inspection i{.path = path};
  std::error_code code;
  if (path.extension() == ".json" && fs::is_regular_file(path, code)) {
    i.config = Config::read(path);
    i.reasons.emplace_back("there are no weights here: a config alone");
    return i;
  }
  try {
    i.checkpoint = Checkpoint::open(path);
    i.config = model_config(*i.checkpoint);
  } catch (const Error& reason) {
    if (!fs::exists(path / "config.json", code) || holds_safetensors(path)) throw;
    i.config = Config::read(path / "config.json");
    i.reasons.emplace_back(reason.what());
  }
  return i;
}

// Whether there is a tokenizer of any kind, readable or not. Without one a model still computes from token ids.
bool holds_tokenizer(const Inspection& i) {
  if (i.checkpoint && i.checkpoint->gguf()) return !i.checkpoint->gguf()->text_or("tokenizer.ggml.model", "").empty();
  std::error_code code;
  const fs::path folder = fs::is_directory(i.path, code) ? i.path : i.path.parent_path();
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json", "qwen.tiktoken"})
    if (is_there(folder / file)) return true;
  return false;
}

// -- How parameters are stored

// A parameter and the type in which --weights auto holds it.
struct OwnParameter {
  Parameter parameter;
  DType own;
};

// The type of what is not quantized.
DType plain_type(const Config& config) {
  const std::string type = config.text_or("dtype", config.text_or("torch_dtype", "bfloat16"));
  return type == "float32" ? DType::f32 : type == "float16" ? DType::f16 : DType::bf16;
}

// As published checkpoints are made: matrices of the layers are FP8 when any are; routers, embedding, head and what
// joins a module's two inputs never are.
std::vector<OwnParameter> expected_parameters(const Config& config, const ModelSpec& spec, Inspection& i) {
  const auto fp8 = fp8_blocks(config);
  const DType plain = plain_type(config);
  std::vector<OwnParameter> all;
  for (const Parameter& p : parameters_of(spec)) {
    const bool in_layer = p.slot.find('.') != std::string::npos && p.slot != "mtp.combine";
    const bool coded = fp8 && in_layer && (p.kind == Parameter::Kind::matrix || p.kind == Parameter::Kind::latent);
    const DType stored = coded ? DType::f8_e4m3 : plain;
    int64_t bytes = p.elements() * row_bytes(stored, 1);
    if (coded)  // a factor in f32 for every block
      bytes += std::max<int64_t>(1, p.stack) * 4 * ((p.rows + fp8->rows - 1) / fp8->rows) *
               ((p.columns + fp8->columns - 1) / fp8->columns);
    i.stored_bytes += bytes;
    i.bytes_of_type[name(stored)] += bytes;
    all.push_back({p, p.held_as({}, stored)});
  }
  return all;
}

// Finds the parameters in the checkpoint. Throws Error when it does not hold them.
std::vector<OwnParameter> bound_parameters(const Family& family, const ModelSpec& spec, const WeightsPolicy& policy,
                                           Inspection& i) {
  const std::vector<Parameter> listed = parameters_of(spec);
  const std::vector<BoundTensor> bound = bind_tensors(family, spec, *i.checkpoint, {});
  CHECK(listed.size() == bound.size());
  std::vector<OwnParameter> all;
  for (size_t k = 0; k < bound.size(); ++k) {
    const DType own = bound[k].held_as;
    for (const StoredTensor* source : bound[k].sources) i.held_as[source] = listed[k].held_as(policy, own);
    all.push_back({listed[k], own});
  }
  return all;
}

void measure_files(Inspection& i) {
  for (const StoredTensor& t : i.checkpoint->tensors()) {
    if (!i.held_as.empty() && !i.held_as.contains(&t)) continue;  // ignored: a copy, or computed from the config
    i.stored_elements += t.elements();
    i.stored_bytes += t.stored_bytes();
    i.bytes_of_type[t.type_name()] += t.stored_bytes();
  }
}

// -- What a run takes

DType default_kv(const LoadOptions& load) {
  return load.kv.value_or(load.weights.fixed == DType::f32 ? DType::f32 : DType::bf16);
}

// Bytes of a cache are a product of numbers from the config: refused before they overflow.
void check_countable(const CacheLayout& layout, int context) {
  double numbers = 0;
  for (const KvCache::Layer& l : layout.layers)
    numbers += static_cast<double>(l.kv_heads) * (static_cast<double>(l.key_dim) + l.value_dim);
  if (numbers * context > 1e15)
    throw Error(fmt::format("a cache for {} tokens would hold more than 10^15 numbers", context));
  double of_states = 0;
  for (const StateLayer& s : layout.states)
    of_states += static_cast<double>(s.state_numbers) + kBlockTokens * static_cast<double>(s.tail_numbers);
  if (of_states > 1e12) throw Error("the states of a sequence would hold more than 10^12 numbers");
}

void measure_cache(const Ops& ops, const LoadOptions& load, Inspection& i) {
  check_countable(cache_layout(*i.spec), std::max(i.context, i.spec->context));
  const auto per_token = [&](const ModelSpec& spec) {
    int64_t bytes = 0;
    for (const KvCache::Layer& layer : cache_layout(spec).layers) bytes += ops.cache_block_bytes(layer, i.kv);
    return bytes / kBlockTokens;
  };
  ModelSpec main = *i.spec;
  main.mtp.clear();
  i.cache_bytes_per_token = per_token(main);
  i.mtp_cache_bytes_per_token = per_token(*i.spec) - i.cache_bytes_per_token;
  i.state_bytes = ops.state_slot_bytes(cache_layout(main).states);
  i.cache_bytes = cache_bytes(ops, cache_layout(main), i.context, load.scheduler, i.kv);
  i.full_cache_bytes = cache_bytes(ops, cache_layout(main), main.context, load.scheduler, i.kv);
}

MemoryChoice memory_choice(const std::vector<OwnParameter>& parameters, const std::string& weights,
                           const LoadOptions& load, const Ops& ops, const Inspection& i) {
  MemoryChoice choice{.weights = weights, .held_as = DType::f32, .kv = default_kv(load)};
  std::map<DType, int64_t> bytes_of;
  int64_t weight_bytes = 0;
  for (const auto& [p, own] : parameters) {
    const DType held = p.held_as(load.weights, own);
    const int64_t bytes = p.held_bytes(ops, held);
    bytes_of[held] += bytes;
    weight_bytes += bytes;
  }
  for (const auto& [type, bytes] : bytes_of)
    if (bytes > bytes_of[choice.held_as]) choice.held_as = type;
  choice.plan = memory_at(*i.spec, weight_bytes, ops, load, choice.kv, i.context);
  choice.plan.available_bytes = i.available_bytes;
  const MemoryPlan best = memory_for(*i.spec, weight_bytes, ops, load, choice.kv);
  choice.context = choice.plan.fits() ? i.context : best.fits() ? best.context : 0;
  return choice;
}

// Of the embedding a token reads a row, unless it is the output head, too; of experts those that it uses.
TokenReads reads_of_token(const std::vector<OwnParameter>& parameters, const LoadOptions& load, const Ops& ops,
                          const ModelSpec& spec) {
  TokenReads reads;
  for (const auto& [p, own] : parameters) {
    const bool in_module = p.layer >= static_cast<int>(spec.layers.size());
    const bool is_head = p.slot == "head" || (p.slot == "embed" && spec.tied_head);
    if (in_module || p.kind == Parameter::Kind::vector || (p.slot == "embed" && !is_head)) continue;
    const DType held = p.held_as(load.weights, own);
    const double share = static_cast<double>(p.active_elements()) / static_cast<double>(p.elements());
    const double bytes = share * static_cast<double>(p.held_bytes(ops, held));
    const MatrixShape shape{held, p.active_elements() / p.columns, p.columns};
    if (is_head) {
      reads.head = shape;
      reads.head_bytes = bytes;
    } else {
      TokenReads::Matrices& matrices = reads.matrices[shape];
      ++matrices.count;
      matrices.bytes += bytes;
    }
  }
  return reads;
}

// What every type of weights takes, the one that is asked for, and what it lacks.
void measure_memory(const std::vector<OwnParameter>& parameters, const ModelOptions& o, const Ops& ops,
                    Inspection& i) {
  std::vector<std::string> types = {"auto"};
  for (const DType type : weight_types()) types.emplace_back(name(type));
  for (const std::string& type : types) {
    ModelOptions options = o;
    options.weights = type;
    i.memory.push_back(memory_choice(parameters, type, options.load_options(), ops, i));
  }
  const MemoryChoice asked = memory_choice(parameters, o.weights, o.load_options(), ops, i);
  if (asked.context == 0)
    i.reasons.push_back(fmt::format("it needs {} of memory, and {} is available",
                                    memory_text(asked.plan.total_bytes()), memory_text(i.available_bytes)));
}

// All that a family knows. Throws Error with the reason when the model cannot run.
void inspect_family(const ModelOptions& o, Inspection& i) {
  const Family& family = family_of(*i.config);
  i.family = family.name;
  ModelSpec spec = family.spec(*i.config);
  if (i.checkpoint) keep_stored(family, *i.checkpoint, spec);
  i.counts = count_parameters(spec);
  i.spec = std::move(spec);
  if (i.context == 0) i.context = i.spec->context;
  const LoadOptions load = o.load_options();
  i.kv = default_kv(load);
  const CpuOps ops(best_kernels(), 1);
  measure_cache(ops, load, i);
  const auto parameters =
      i.checkpoint ? bound_parameters(family, *i.spec, load.weights, i) : expected_parameters(*i.config, *i.spec, i);
  measure_memory(parameters, o, ops, i);
  i.token_reads = reads_of_token(parameters, load, ops, *i.spec);
  if (i.checkpoint && i.has_tokenizer) TextModel::read(*i.checkpoint);
}

}  // namespace

Inspection inspect_model(const fs::path& path, const ModelOptions& o) {
  Inspection i = open_model(path);
  const auto classes = i.config->texts("architectures");
  i.architecture = classes.empty() ? i.config->text_or("model_type", "unknown") : classes.front();
  i.has_tokenizer = holds_tokenizer(i);
  i.context = o.context;
  i.available_bytes = available_memory_bytes();
  try {
    inspect_family(o, i);
  } catch (const Error& reason) { i.reasons.emplace_back(reason.what()); }
  const auto& own = i.config->json();
  if (i.context == 0 && own.contains("max_position_embeddings") && own["max_position_embeddings"].is_number_integer())
    i.context = i.config->integer_or("max_position_embeddings", 0);
  if (i.checkpoint) measure_files(i);
  return i;
}

}  // namespace cachalot
