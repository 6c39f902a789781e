#include "load/loaded_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "base/available_memory.h"
#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "engine/scoring.h"
#include "formats/gguf/ends.h"
#include "formats/gguf/file.h"
#include "formats/gguf/tokenizer.h"
#include "formats/huggingface/chat_template.h"
#include "formats/huggingface/tokenizer.h"
#include "load/reply_format.h"
#include "model/gguf_config.h"
#include "ops/cpu/latent.h"
#include "ops/weight_types.h"

namespace cachalot {

namespace fs = std::filesystem;

// -- Text side and defaults

// What the checkpoint's family says of the format that its chats have; nullptr when that is not named, or is none of
// the family's.
static const ChatFormat* chat_format(const Checkpoint& checkpoint, Families families) {
  const auto generation = generation_config(checkpoint);
  const Family* family = generation ? find_family(*checkpoint.config(), families) : nullptr;
  if (!family || family->chat.name.empty() || generation->text_or("chat_format", "") != family->chat.name)
    return nullptr;
  return &family->chat;
}

static Vocabulary read_vocabulary(const Checkpoint& checkpoint, Families families) {
  const GgufFile* gguf = checkpoint.gguf();
  if (!gguf) return read_hf_vocabulary(checkpoint.path());
  return read_gguf_vocabulary(*gguf, usual_pre_tokenizer(gguf->text_or("general.architecture", ""), families));
}

static std::vector<ChatTemplateSource> read_chat_templates(const Checkpoint& checkpoint, Families families) {
  if (checkpoint.gguf()) return read_gguf_chat_templates(*checkpoint.gguf());
  auto sources = read_hf_chat_templates(checkpoint.path());
  const ChatFormat* format = sources.empty() ? chat_format(checkpoint, families) : nullptr;
  if (format) sources.push_back({"default", std::string(format->chat_template)});
  return sources;
}

// Of what cannot run here, too: text needs no family.
static ReplyFormats reply_formats(const Checkpoint& checkpoint, Families families) {
  try {
    if (const Family* family = find_family(checkpoint, families)) return family->replies;
  } catch (const Error&) {}
  return {};
}

TextModel TextModel::read(const Checkpoint& checkpoint, Families families) {
  const Vocabulary vocabulary = read_vocabulary(checkpoint, families);
  TextModel text{.tokenizer = Tokenizer(vocabulary), .chat_template = {}, .reply = {}};
  NamedTokens tokens = vocabulary.named;
  const auto name_token = [&](const char* name, std::optional<int> id) {
    if (id) tokens.emplace_back(name, text.tokenizer.bytes(*id));
  };
  name_token("bos_token", text.tokenizer.bos());
  name_token("eos_token", text.tokenizer.eos());
  try {
    const auto sources = read_chat_templates(checkpoint, families);
    if (!sources.empty()) text.chat_template.emplace(sources, std::move(tokens));
  } catch (const Error& error) { text.chat_template.emplace(error); }
  text.reply = reply_format(reply_formats(checkpoint, families), text.chat_template);
  return text;
}

GenerationDefaults GenerationDefaults::read(const Checkpoint& checkpoint, const Tokenizer& tokenizer,
                                            Families families) {
  GenerationDefaults d;
  const auto add_ends = [&](const std::vector<int>& ids) {
    for (const int id : ids)
      if (std::find(d.end_tokens.begin(), d.end_tokens.end(), id) == d.end_tokens.end()) d.end_tokens.push_back(id);
  };
  SamplingDefaults sampling = read_sampling_defaults(checkpoint);
  d.sampling = sampling.params;
  d.max_tokens = sampling.max_tokens;
  d.unusable = std::move(sampling.unusable);
  if (const auto config = generation_config(checkpoint)) add_ends(config->integers("eos_token_id"));
  if (const ChatFormat* format = chat_format(checkpoint, families))
    for (const std::string_view end : format->ends)
      if (const auto id = tokenizer.find(end)) add_ends({*id});
  if (checkpoint.config()) add_ends(checkpoint.config()->integers("eos_token_id"));
  if (tokenizer.eos()) add_ends({*tokenizer.eos()});
  if (checkpoint.gguf()) add_ends(gguf_end_tokens(*checkpoint.gguf(), tokenizer));
  return d;
}

// -- Memory

// Rows whose logits are alive at once: of everyone who runs the last one and the drafts, and what the module guesses;
// before that, those of prompts whose log-probabilities are told.
static int64_t logit_rows(const ModelSpec& spec, const LoadOptions& o, int max_rows) {
  if (o.scores) return std::min(max_rows, scored_at_once(spec.vocab));
  const bool module = !spec.mtp.empty();
  const int drafts = module ? 1 : o.speculation == Speculation::lookup ? EngineOptions().lookup_drafts : 0;
  const int64_t sequences = std::min(o.scheduler.max_sequences, max_rows);
  const int64_t choosing = std::min<int64_t>(max_rows, sequences * (1 + drafts)) + (module ? sequences : 0);
  return o.prompt_logprobs ? std::max<int64_t>(choosing, std::min(max_rows, told_at_once(spec.vocab))) : choosing;
}

// The widest rows of a step, times how many of them are alive at once; logits, and what sampling them takes.
static int64_t activation_bytes(const ModelSpec& spec, const LoadOptions& o, int max_rows, int host_threads) {
  int64_t widest = 0, widest_absorbed = 0;
  std::vector<LayerSpec> layers = spec.layers;
  layers.insert(layers.end(), spec.mtp.begin(), spec.mtp.end());
  for (const LayerSpec& l : layers) {
    const AttentionCost attention = l.attention_cost();
    widest = std::max(widest, l.ffn_row_numbers(spec.width) + 2 * attention.row_numbers + 6 * int64_t{spec.width});
    widest_absorbed = std::max(widest_absorbed, attention.absorbed_row_numbers);
  }
  // In f64, as a config may describe more than 63 bits count.
  const double numbers =
      static_cast<double>(max_rows) * static_cast<double>(widest) +
      static_cast<double>(std::min(max_rows, kAbsorbedRows)) * static_cast<double>(widest_absorbed);
  const int samplers = o.prompt_logprobs ? host_threads : std::min(host_threads, o.scheduler.max_sequences);
  const double logits =
      (4.0 * static_cast<double>(logit_rows(spec, o, max_rows)) + samplers * SamplerRoom::kBytesPerToken) *
      spec.vocab;
  return static_cast<int64_t>(std::min(2 * 4 * numbers + logits, 1e18));
}

static std::string gib(int64_t bytes) { return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30)); }

MemoryPlan memory_at(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& o, DType kv,
                     int context) {
  const CacheLayout layout = cache_layout(spec);
  SchedulerOptions scheduler = o.scheduler;
  if (!spec.causal()) scheduler.max_rows = std::max(scheduler.max_rows, context);  // texts are read whole
  const int cache_tokens = std::max(context, o.cache_tokens);
  MemoryPlan plan{.weight_bytes = weight_bytes,
                  .cache_bytes = cache_bytes(ops, layout, cache_tokens, scheduler, kv),
                  .activation_bytes = activation_bytes(spec, o, scheduler.max_rows, ops.host_threads()),
                  .available_bytes = available_memory_bytes(),
                  .context = context,
                  .cache_tokens = cache_tokens,
                  .scheduler = o.scheduler};
  for (const auto& layer : layout.layers)
    plan.cache_bytes_per_token += ops.cache_block_bytes(layer, kv) / kBlockTokens;
  return plan;
}

// The largest cache by bisection: bytes grow with tokens, but with windows not in proportion.
static MemoryPlan with_roomy_cache(const MemoryPlan& least, const ModelSpec& spec, const Ops& ops, LoadOptions o,
                                   DType kv) {
  const int64_t left = least.available_bytes - least.weight_bytes - least.activation_bytes;
  constexpr int kConversations = 8;  // as few as may run at once, the beginnings of others are worth their room
  const int64_t all = int64_t{least.context} * std::max(o.scheduler.max_sequences, kConversations);
  MemoryPlan best = least;
  int low = least.context / kBlockTokens, high = static_cast<int>(std::min<int64_t>(all, 1 << 30) / kBlockTokens);
  while (low < high) {
    const int middle = low + (high - low + 1) / 2;
    o.cache_tokens = middle * kBlockTokens;
    const MemoryPlan plan = memory_at(spec, least.weight_bytes, ops, o, kv, least.context);
    if (plan.cache_bytes <= left / 2) {
      low = middle;
      best = plan;
    } else {
      high = middle - 1;
    }
  }
  return best;
}

MemoryPlan memory_for(const ModelSpec& spec, int64_t weight_bytes, const Ops& ops, const LoadOptions& o, DType kv) {
  if (spec.learned_positions > 0 && o.context > spec.learned_positions)
    throw Error(fmt::format("a context of {} tokens is asked for, but the model knows {} positions", o.context,
                            spec.learned_positions));
  MemoryPlan plan = memory_at(spec, weight_bytes, ops, o, kv, o.context > 0 ? o.context : spec.context);
  while (o.context == 0 && !plan.fits() && plan.context > 512)
    plan = memory_at(spec, weight_bytes, ops, o, kv, plan.context / 2);
  return o.roomy_cache && o.cache_tokens == 0 ? with_roomy_cache(plan, spec, ops, o, kv) : plan;
}

int64_t trained_tokens(const ModelSpec& spec) {
  const RopeSpec& rope = spec.layers[0].rope();
  double tokens = spec.context;
  if (rope.scaling == RopeScaling::yarn) tokens = std::max(tokens, rope.trained_tokens * rope.factor);
  if (rope.scaling == RopeScaling::linear || rope.scaling == RopeScaling::dynamic)
    tokens *= std::max(1.0, rope.factor);
  return static_cast<int64_t>(std::min(tokens, 1e15));
}

void warn_beyond_training(const ModelSpec& spec, int tokens) {
  if (const int64_t trained = trained_tokens(spec); tokens > trained)
    warn(
        "a context of {} tokens is asked for, but the model was made for {}: what comes after them is predicted "
        "worse",
        tokens, trained);
}

MemoryPlan plan_memory(const ModelSpec& spec, const std::vector<BoundTensor>& tensors, const Ops& ops,
                       const LoadOptions& o, DType kv) {
  int64_t weight_bytes = 0;
  for (const BoundTensor& t : tensors) weight_bytes += t.held_bytes(ops);
  MemoryPlan plan = memory_for(spec, weight_bytes, ops, o, kv);
  if (!plan.fits())
    throw Error("the model does not fit the memory")
        .because(fmt::format("weights {} + cache {} for {} tokens + activations {} = {}, but {} is available",
                             gib(plan.weight_bytes), gib(plan.cache_bytes), plan.cache_tokens,
                             gib(plan.activation_bytes), gib(plan.total_bytes()), gib(plan.available_bytes)))
        .hint("lower --context, or take a smaller --weights type or model");
  if (o.context == 0 && plan.context < spec.context)
    note("context cut from {} to {} tokens to fit the memory (--context N sets it)", spec.context, plan.context);
  return plan;
}

// -- Loading

// Says which matrices are held in another type than asked for, or than the checkpoint has.
static void note_other_types(const std::vector<BoundTensor>& tensors, const WeightsPolicy& policy) {
  if (!policy.fixed) {
    const auto narrowed = std::find_if(tensors.begin(), tensors.end(), [](const BoundTensor& t) {
      return t.held_as == DType::bf16 && !has_kernels(t.sources[0]->dtype);
    });
    if (narrowed != tensors.end())
      note("{} weights are held as bf16: that type has no kernels of its own (--weights f32 is exact)",
           name(narrowed->sources[0]->dtype));
    return;
  }
  std::map<DType, std::set<std::string_view>> others;
  for (const BoundTensor& t : tensors)
    if (t.held_as != policy.fixed && t.held_as != DType::f32) others[t.held_as].insert(t.slot);
  if (others.empty()) return;
  std::vector<std::string> lists;
  for (const auto& [type, slots] : others)
    lists.push_back(fmt::format("{} ({})", name(type), fmt::join(slots, ", ")));
  note("not all weights are held as {}: {}", name(*policy.fixed), fmt::join(lists, ", "));
}

LoadedModel LoadedModel::load(const fs::path& path, const LoadOptions& o, std::unique_ptr<Ops> ops) {
  const auto start = std::chrono::steady_clock::now();
  Checkpoint checkpoint = Checkpoint::open(path);
  const Config config = model_config(checkpoint, o.families);
  const Family& family = family_of(config, o.families);
  ModelSpec spec = family.spec(config);
  spec.family = family.name;
  keep_stored(family, checkpoint, spec);
  const Speculation speculation = o.speculation.value_or(spec.mtp.empty() ? Speculation::off : Speculation::mtp);
  if (speculation == Speculation::mtp && spec.mtp.empty())
    throw Error("the checkpoint has no module that drafts tokens (MTP)")
        .in(checkpoint.path().string())
        .hint("--speculate lookup works with every model");
  if (speculation != Speculation::mtp) spec.mtp.clear();
  const auto tensors = bind_tensors(family, spec, checkpoint, o.weights);

  const DType kv = o.kv.value_or(o.weights.fixed == DType::f32 ? DType::f32 : DType::bf16);
  const MemoryPlan plan = plan_memory(spec, tensors, *ops, o, kv);
  std::optional<TextModel> text;
  GenerationDefaults defaults;
  if (o.text) {
    text = TextModel::read(checkpoint, o.families);
    defaults = GenerationDefaults::read(checkpoint, text->tokenizer, o.families);
  }

  note_other_types(tensors, o.weights);
  Progress bar("loading", o.progress);
  auto transformer = std::make_unique<Transformer>(
      spec, load_weights(family, spec, checkpoint, o.weights, *ops, [&](int64_t done, int64_t total) {
        bar.update(done, total);
        if (o.loading) o.loading(done, total);
      }));
  bar.finish();
  const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  EmbeddingForm embedding = read_embedding_form(checkpoint);
  return {std::move(checkpoint),
          &family,
          std::move(text),
          std::move(defaults),
          std::move(embedding),
          std::move(ops),
          std::move(transformer),
          plan,
          kv,
          speculation,
          o.prompt_logprobs,
          elapsed.count()};
}

EngineOptions LoadedModel::engine_options() const {
  return {.context = plan.context,
          .cache_tokens = plan.cache_tokens,
          .kv = kv,
          .scheduler = plan.scheduler,
          .speculation = speculation,
          .weigh_drafts = plan.scheduler.max_sequences > 1,
          .prompt_logprobs = prompt_logprobs};
}

}  // namespace cachalot
