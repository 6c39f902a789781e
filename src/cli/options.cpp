#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "base/log.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "ops/weight_types.h"

namespace cachalot {

namespace {

constexpr int kMaxThreads = 4096, kMaxContext = 1 << 30;

// Names of types are written in either case: q4_k, and Q4_K in the names of files.
std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 'a' - 'A');
  return text;
}

// Checks give back what is wrong, or nothing.
std::string check_weights(const std::string& value) {
  const auto type = dtype_from_name(value);
  const auto types = weight_types();
  if (value == "auto" || (type && std::find(types.begin(), types.end(), *type) != types.end())) return {};
  std::string known = "auto";
  for (const DType held : types) known += ", " + std::string(name(held));
  return fmt::format("'{}' is no type of weights; use one of {}", value, known);
}

std::string check_kv(const std::string& value) {
  if (value == "f32" || value == "bf16" || value == "q8_0") return {};
  return fmt::format("'{}' is no type of cache; use f32, bf16 or q8_0", value);
}

// The library's own conversion wraps numbers that are too large or negative.
std::string check_seed(const std::string& value) {
  uint64_t seed = 0;
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), seed);
  const bool whole = code == std::errc() && end == value.data() + value.size();
  return whole ? "" : fmt::format("'{}' is no whole number from 0 to 2^64 - 1", value);
}

std::string check_stop(const std::string& value) {
  return value.empty() ? "an empty text would end every answer" : "";
}

}  // namespace

void add_model_argument(Command& command, std::string& model, bool& pull, bool required) {
  command.add({.name = "MODEL",
               .help = "a folder, a .gguf file, or the name of a model",
               .value = &model,
               .required = required});
  command.add(
      {.name = "--pull", .help = "fetch REPO[@REVISION][:TYPE] from the hub when it is not here", .value = &pull});
}

void add_json_flag(Command& command, bool& json) {
  command.add({.name = "--json", .help = "print one JSON object", .value = &json});
}

void ModelOptions::add_to(Command& command, bool model_required) {
  constexpr const char* group = "Model";
  add_model_argument(command, model, pull, model_required);
  command.add({.name = "--weights",
               .help =
                   "how weights are held: auto (as stored), f32 (exact), bf16, or a quantized type, with the output "
                   "head finer, as `quantize` makes files of that type",
               .value = &weights,
               .type = "TYPE",
               .group = group,
               .change = lower_case,
               .check = check_weights});
  command.add({.name = "--kv",
               .help = "type of the cache: f32, bf16 or q8_0 [f32 with f32 weights, else bf16]",
               .value = &kv,
               .type = "TYPE",
               .group = group,
               .change = lower_case,
               .check = check_kv});
  command.add({.name = "--threads",
               .help = "[physical cores that this process may use]",
               .value = &threads,
               .type = "N",
               .group = group,
               .range = Range{1, kMaxThreads}});
  command.add({.name = "--context",
               .help = "most tokens of prompt and answer [the model's own, bounded by memory]",
               .value = &context,
               .type = "N",
               .group = group,
               .range = Range{1, kMaxContext}});
}

LoadOptions ModelOptions::load_options() const {
  LoadOptions o;
  o.context = context;
  if (!kv.empty()) o.kv = dtype_from_name(kv);
  if (weights != "auto") o.weights.fixed = dtype_from_name(weights);
  return o;
}

std::unique_ptr<CpuOps> ModelOptions::make_ops() const {
  return std::make_unique<CpuOps>(best_kernels(), threads > 0 ? threads : default_threads());
}

LoadedModel ModelOptions::load(const LoadOptions& options) const {
  LoadedModel loaded = LoadedModel::load(find_model(model, pull), options, make_ops());
  warn_beyond_training(loaded.transformer->spec(), context);
  return loaded;
}

LoadedModel ModelOptions::load_to_score(bool text, int chunk) const {
  LoadOptions options = load_options();
  options.text = text;
  options.scores = true;
  options.scheduler.max_rows = std::max(options.scheduler.max_rows, chunk);
  return load(options);
}

LoadedModel ModelOptions::load(const SpeculationOptions& speculation) const {
  LoadOptions options = load_options();
  options.speculation = speculation.chosen();
  return load(options);
}

void SpeculationOptions::add_to(Command& command) {
  command.add({.name = "--speculate",
               .help =
                   "guess tokens and keep what the model would have said anyway: mtp (the checkpoint's own module), "
                   "lookup (repetitions in the text), off [auto: mtp where there is one]",
               .value = &form,
               .type = "HOW",
               .group = "Model",
               .one_of = {"auto", "off", "lookup", "mtp"}});
}

std::optional<Speculation> SpeculationOptions::chosen() const {
  for (const Speculation known : {Speculation::off, Speculation::lookup, Speculation::mtp})
    if (form == name(known)) return known;
  return std::nullopt;
}

void SamplingOptions::add_to(Command& command) {
  const std::vector<Option> options = {
      {"--max-tokens", "longest answer [what is left of the context]", &max_tokens, "N"},
      {"--temperature", "0 is greedy", &temperature, "X"},
      {"--top-k", "keep the k likeliest tokens; 0 keeps all", &top_k, "K"},
      {"--top-p", "keep the likeliest tokens that together have this probability", &top_p, "P"},
      {"--min-p", "keep tokens at least this fraction as likely as the likeliest", &min_p, "P"},
      {"--repeat-penalty", "divides the logits of tokens seen before; 1 is off", &repeat_penalty, "X"},
      {"--presence-penalty", "subtracted once from tokens of the answer", &presence_penalty, "X"},
      {"--frequency-penalty", "subtracted as often as the answer has the token", &frequency_penalty, "X"},
      {"--seed", "same seed, same request, same text [drawn]", &seed, "N"},
      {"--stop", "end the answer before this text; may be given several times", &stops, "TEXT"}};
  for (Option option : options) {
    option.group = "Sampling (defaults: the checkpoint's generation_config.json)";
    command.add(std::move(option));
  }
  const auto bound = [&](std::string_view name, SamplingParams::Range range) {
    command.option(name).range = Range{range.low, range.high};
  };
  bound("--temperature", SamplingParams::kTemperature);
  bound("--top-k", SamplingParams::kTopK);
  bound("--top-p", SamplingParams::kTopP);
  bound("--min-p", SamplingParams::kMinP);
  bound("--repeat-penalty", SamplingParams::kRepeatPenalty);
  bound("--presence-penalty", SamplingParams::kPresencePenalty);
  bound("--frequency-penalty", SamplingParams::kFrequencyPenalty);
  command.option("--max-tokens").range = Range{0, kMaxContext};
  command.option("--seed").check = check_seed;
  command.option("--stop").check = check_stop;
}

// Of the defaults that nothing replaces and that have a say: greedy choices ask for the penalty alone.
static void warn_of_unusable(const SamplingOptions& given, const GenerationDefaults& defaults, bool greedy) {
  const std::pair<std::string_view, bool> silent[] = {{"temperature", given.temperature.has_value()},
                                                      {"top_k", greedy || given.top_k},
                                                      {"top_p", greedy || given.top_p},
                                                      {"min_p", greedy || given.min_p},
                                                      {"repeat_penalty", given.repeat_penalty.has_value()}};
  for (const UnusableDefault& d : defaults.unusable)
    if (std::find(std::begin(silent), std::end(silent), std::pair(d.parameter, true)) == std::end(silent))
      warn("{}", printable(d.message));
}

SamplingParams SamplingOptions::over(const GenerationDefaults& defaults) const {
  SamplingParams p = defaults.sampling;
  p.temperature = temperature.value_or(p.temperature);
  p.top_k = top_k.value_or(p.top_k);
  p.top_p = top_p.value_or(p.top_p);
  p.min_p = min_p.value_or(p.min_p);
  p.repeat_penalty = repeat_penalty.value_or(p.repeat_penalty);
  p.presence_penalty = presence_penalty.value_or(p.presence_penalty);
  p.frequency_penalty = frequency_penalty.value_or(p.frequency_penalty);
  p.seed = seed ? *seed : std::random_device{}();
  p.check();
  warn_of_unusable(*this, defaults, /*greedy=*/p.temperature == 0);
  return p;
}

}  // namespace cachalot
