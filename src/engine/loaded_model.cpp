#include "engine/loaded_model.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "formats/gguf.h"
#include "formats/gguf_tokenizer.h"
#include "formats/hf_chat_template.h"
#include "formats/hf_tokenizer.h"
#include "ops/cpu_latent.h"
#include "ops/weight_types.h"

namespace cachalot {

namespace fs = std::filesystem;

// -- Finding a model

static std::vector<fs::path> model_folders() {
  std::vector<fs::path> folders;
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code);
  if (!code) {
    folders.push_back(program.parent_path() / "../models");                 // build/cachalot in a checkout
    folders.push_back(program.parent_path() / "../share/cachalot/models");  // bin/cachalot of an installation
  }
  if (const char* list = std::getenv("CACHALOT_MODELS")) {
    std::string_view left = list;
    while (!left.empty()) {
      const auto colon = std::min(left.find(':'), left.size());
      if (colon > 0) folders.emplace_back(left.substr(0, colon));
      left.remove_prefix(std::min(left.size(), colon + 1));
    }
  }
  return folders;
}

// The newest snapshot of "owner/name" in the local Hugging Face cache; empty when it is not there.
static fs::path in_hugging_face_cache(std::string_view name) {
  const auto from_env = [](const char* variable) -> fs::path {
    const char* v = std::getenv(variable);
    return v ? v : "";
  };
  fs::path hub = from_env("HF_HUB_CACHE");
  if (hub.empty() && !from_env("HF_HOME").empty()) hub = from_env("HF_HOME") / "hub";
  if (hub.empty()) hub = from_env("HOME") / ".cache/huggingface/hub";
  std::string folder = "models--" + std::string(name);
  for (size_t at; (at = folder.find('/')) != std::string::npos;) folder.replace(at, 1, "--");

  std::error_code code;
  std::ifstream main_ref(hub / folder / "refs/main");
  std::string revision;
  if (std::getline(main_ref, revision) && revision.find('/') == std::string::npos) {
    const fs::path snapshot = hub / folder / "snapshots" / revision;
    if (fs::is_directory(snapshot, code)) return snapshot;
  }
  for (const auto& entry : fs::directory_iterator(hub / folder / "snapshots", code)) return entry.path();
  return {};
}

fs::path resolve_model(std::string_view name) {
  std::error_code code;
  if (fs::exists(name, code)) return name;
  std::string looked;
  const bool plain = !name.empty() && name.find("..") == std::string_view::npos && name.front() != '/';
  if (plain) {
    for (const fs::path& folder : model_folders()) {
      if (fs::exists(folder / name, code)) return fs::weakly_canonical(folder / name, code);
      looked += (looked.empty() ? "" : ", ") + folder.lexically_normal().string();
    }
    if (const fs::path snapshot = in_hugging_face_cache(name); !snapshot.empty()) return snapshot;
  }
  throw Error(fmt::format("there is no model '{}'", name))
      .because(looked.empty()
                   ? "no such file or folder"
                   : "no such file or folder, nor one in " + looked + ", nor in the local Hugging Face cache")
      .hint(
          "give a folder with config.json and *.safetensors, a .gguf file, or the name of a model that ships "
          "(tiny-r1, tiny-qwen)");
}

// -- Text side and defaults

TextModel TextModel::read(const Checkpoint& checkpoint) {
  TextModel text{.tokenizer = Tokenizer(checkpoint.gguf() ? read_gguf_vocabulary(*checkpoint.gguf())
                                                          : read_hf_vocabulary(checkpoint.path())),
                 .chat_template = {}};
  const std::string source = checkpoint.gguf()
                                 ? std::string(checkpoint.gguf()->text_or("tokenizer.chat_template", ""))
                                 : read_hf_chat_template(checkpoint.path());
  const auto literal = [&](std::optional<int> id) {
    return id ? std::string(text.tokenizer.bytes(*id)) : std::string();
  };
  if (!source.empty())
    text.chat_template.emplace(source, literal(text.tokenizer.bos()), literal(text.tokenizer.eos()));
  return text;
}

GenerationDefaults GenerationDefaults::read(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  GenerationDefaults d;
  const auto add_ends = [&](const std::vector<int>& ids) {
    for (const int id : ids)
      if (std::find(d.end_tokens.begin(), d.end_tokens.end(), id) == d.end_tokens.end()) d.end_tokens.push_back(id);
  };
  std::error_code code;
  const fs::path file = checkpoint.path() / "generation_config.json";
  if (!checkpoint.gguf() && fs::exists(file, code)) {
    const Config g = Config::read(file);
    SamplingParams& s = d.sampling;
    s.temperature = g.number_or("temperature", 1);
    s.top_k = g.integer_or("top_k", 0);
    s.top_p = g.number_or("top_p", 1);
    s.min_p = g.number_or("min_p", 0);
    s.repeat_penalty = g.number_or("repetition_penalty", 1);
    if (!g.boolean_or("do_sample", false)) s.temperature = 0;
    if (g.has("max_new_tokens")) d.max_tokens = g.integer("max_new_tokens", 1);
    add_ends(g.integers("eos_token_id"));
    // Qwen 1's chat models name no more than <|endoftext|> there; their code adds the two marks of a turn.
    if (g.text_or("chat_format", "") == "chatml")
      for (const char* mark : {"<|im_end|>", "<|im_start|>"})
        if (const auto id = tokenizer.find(mark)) add_ends({*id});
    s.check();
  }
  add_ends(checkpoint.config().integers("eos_token_id"));
  if (tokenizer.eos()) add_ends({*tokenizer.eos()});
  return d;
}

// -- Memory

// "Name:   123 kB" in a file of such lines, in bytes; none when absent.
static std::optional<int64_t> meminfo_bytes(std::string_view wanted) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(wanted)) return std::strtoll(line.c_str() + wanted.size(), nullptr, 10) * 1024;
  return std::nullopt;
}

static std::optional<int64_t> number_in(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;  // "max" is no number
}

int64_t available_memory_bytes() {
  int64_t available = meminfo_bytes("MemAvailable:").value_or(INT64_MAX);
  if (const auto limit = number_in("/sys/fs/cgroup/memory.max")) {
    int64_t used = number_in("/sys/fs/cgroup/memory.current").value_or(0);
    std::ifstream stat("/sys/fs/cgroup/memory.stat");
    for (std::string key, value; stat >> key >> value;)
      if (key == "inactive_file" || key == "active_file") used -= std::strtoll(value.c_str(), nullptr, 10);
    available = std::min(available, *limit - std::max<int64_t>(0, used));
  }
  return std::max<int64_t>(0, available);
}

// Numbers of one row that attention computes: queries, keys and values, and what is between them.
static int64_t attention_numbers(const LayerSpec& l) {
  if (const GqaSpec* a = l.gqa())
    return int64_t{a->heads + 2 * a->kv_heads} * a->head_dim + 3 * int64_t{a->compressed_dim};
  const MlaSpec& a = *l.mla();
  return a.q_rank + int64_t{a.heads} * (a.nope_dim + a.rope.dim + a.value_dim);
}

// And of a row in the latent space, of which few are computed together.
static int64_t absorbed_numbers(const LayerSpec& l) {
  const MlaSpec* a = l.mla();
  return a ? int64_t{a->heads} * (2 * int64_t{a->kv_rank} + a->rope.dim + a->value_dim) : 0;
}

static int64_t ffn_numbers(const LayerSpec& l, int width) {
  if (l.dense()) return 3 * int64_t{l.dense()->hidden};
  const MoeSpec& moe = *l.moe();
  return moe.gate.active * (3 * int64_t{moe.expert.hidden} + width) + 3 * int64_t{moe.shared.hidden};
}

// The widest rows of a step, times how many of them are alive at once.
static int64_t activation_bytes(const ModelSpec& spec, int max_rows) {
  int64_t widest = 0, widest_absorbed = 0;
  std::vector<LayerSpec> layers = spec.layers;
  layers.insert(layers.end(), spec.mtp.begin(), spec.mtp.end());
  for (const LayerSpec& l : layers) {
    widest = std::max(widest, ffn_numbers(l, spec.width) + 2 * attention_numbers(l) + 6 * int64_t{spec.width});
    widest_absorbed = std::max(widest_absorbed, absorbed_numbers(l));
  }
  // In f64, as a config may describe more than 63 bits count.
  const double numbers =
      static_cast<double>(max_rows) * static_cast<double>(widest) +
      static_cast<double>(std::min(max_rows, kAbsorbedRows)) * static_cast<double>(widest_absorbed) +
      2.0 * spec.vocab;
  return static_cast<int64_t>(std::min(2 * 4 * numbers, 1e18));
}

static std::string gib(int64_t bytes) { return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30)); }

MemoryPlan memory_at(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& o, DType kv,
                     int context) {
  const CacheLayout layout = cache_layout(spec);
  const int rows = spec.causal() ? o.max_rows : std::max(o.max_rows, context);  // texts are read whole otherwise
  MemoryPlan plan{.weight_bytes = weight_bytes,
                  .cache_bytes = cache_bytes(ops, layout, context, rows, kv),
                  .activation_bytes = activation_bytes(spec, rows),
                  .available_bytes = available_memory_bytes(),
                  .context = context};
  for (const auto& layer : layout.layers)
    plan.cache_bytes_per_token += ops.cache_block_bytes(layer, kv) / kBlockTokens;
  return plan;
}

MemoryPlan memory_for(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& o, DType kv) {
  if (spec.learned_positions > 0 && o.context > spec.learned_positions)
    throw Error(fmt::format("a context of {} tokens is asked for, but the model knows {} positions", o.context,
                            spec.learned_positions));
  MemoryPlan plan = memory_at(spec, weight_bytes, ops, o, kv, o.context > 0 ? o.context : spec.context);
  while (o.context == 0 && !plan.fits() && plan.context > 512)
    plan = memory_at(spec, weight_bytes, ops, o, kv, plan.context / 2);
  return plan;
}

MemoryPlan plan_memory(const ModelSpec& spec, const std::vector<BoundTensor>& tensors, const Ops& ops,
                       const LoadOptions& o, DType kv) {
  int64_t weight_bytes = 0;
  for (const BoundTensor& t : tensors) weight_bytes += t.held_bytes(ops);
  MemoryPlan plan = memory_for(spec, weight_bytes, ops, o, kv);
  if (!plan.fits())
    throw Error("the model does not fit the memory")
        .because(fmt::format("weights {} + cache {} for {} tokens + activations {} = {}, but {} is available",
                             gib(plan.weight_bytes), gib(plan.cache_bytes), plan.context, gib(plan.activation_bytes),
                             gib(plan.total_bytes()), gib(plan.available_bytes)))
        .hint("lower --context, or take a smaller --weights type or model");
  if (o.context == 0 && plan.context < spec.context)
    note("context cut from {} to {} tokens to fit the memory (--context N sets it)", spec.context, plan.context);
  return plan;
}

// -- Loading

LoadedModel LoadedModel::load(const fs::path& path, const LoadOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  Checkpoint checkpoint = Checkpoint::open(path);
  const Family& family = family_of(checkpoint.config());
  ModelSpec spec = family.spec(checkpoint.config());
  spec.family = family.name;
  keep_stored(family, checkpoint, spec);
  const Speculation speculation = o.speculation.value_or(spec.mtp.empty() ? Speculation::off : Speculation::mtp);
  if (speculation == Speculation::mtp && spec.mtp.empty())
    throw Error("the checkpoint has no module that drafts tokens (MTP)")
        .in(checkpoint.path().string())
        .hint("--speculate lookup works with every model");
  if (speculation != Speculation::mtp) spec.mtp.clear();
  const auto tensors = bind_tensors(family, spec, checkpoint, o.weights);

  auto ops = std::make_unique<CpuOps>(best_kernels(), o.threads > 0 ? o.threads : default_threads());
  const DType kv = o.kv.value_or(o.weights.fixed == DType::f32 ? DType::f32 : DType::bf16);
  const MemoryPlan plan = plan_memory(spec, tensors, *ops, o, kv);
  std::optional<TextModel> text;
  GenerationDefaults defaults;
  if (o.text) {
    text = TextModel::read(checkpoint);
    defaults = GenerationDefaults::read(checkpoint, text->tokenizer);
  }

  if (!o.weights.fixed) {
    const auto narrowed = std::find_if(tensors.begin(), tensors.end(), [](const BoundTensor& t) {
      return t.held_as == DType::bf16 && !has_kernels(t.sources[0]->dtype);
    });
    if (narrowed != tensors.end())
      note("{} weights are held as bf16: that type has no kernels of its own (--weights f32 is exact)",
           name(narrowed->sources[0]->dtype));
  }
  Progress bar("loading", o.progress);
  auto transformer = std::make_unique<Transformer>(
      spec, load_weights(family, spec, checkpoint, o.weights, *ops,
                         [&](int64_t done, int64_t total) { bar.update(done, total); }));
  bar.finish();
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  return {
      std::move(checkpoint), std::move(text), std::move(defaults), std::move(ops), std::move(transformer), plan, kv,
      speculation,           elapsed.count()};
}

EngineOptions LoadedModel::engine_options() const {
  return {
      .context = plan.context, .cache_tokens = plan.context, .kv = kv, .scheduler = {}, .speculation = speculation};
}

}  // namespace cachalot
