#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "base/log.h"
#include "cli/terminal.h"
#include "load/find_model.h"
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

// Validators give back what is wrong, or nothing.
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

// What the engine would refuse, before a model is loaded. (The library's own check lets NaN pass.)
auto within(SamplingParams::Range range) {
  return [range](const std::string& text) -> std::string {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= range.low && value <= range.high) return {};
    return fmt::format("'{}' is no number from {} to {}", text, range.low, range.high);
  };
}

}  // namespace

void add_model_argument(CLI::App& command, std::string& model, bool required) {
  command.add_option("MODEL", model, "a folder, a .gguf file, or the name of a model")
      ->required(required)
      ->type_name("");
}

void add_json_flag(CLI::App& command, bool& json) { command.add_flag("--json", json, "print one JSON object"); }

void ModelOptions::add_to(CLI::App& command, bool model_required) {
  constexpr const char* group = "Model";
  add_model_argument(command, model, model_required);
  command
      .add_option(
          "--weights", weights,
          "how weights are held: auto (as stored), f32 (exact), bf16, or a quantised type, with the output head "
          "finer, as `quantize` makes files of that type")
      ->type_name("TYPE")
      ->transform(lower_case)
      ->check(check_weights)
      ->group(group);
  command.add_option("--kv", kv, "type of the cache: f32, bf16 or q8_0 [f32 with f32 weights, else bf16]")
      ->type_name("TYPE")
      ->transform(lower_case)
      ->check(check_kv)
      ->group(group);
  command.add_option("--threads", threads, "[physical cores that this process may use]")
      ->type_name("N")
      ->check(CLI::Range(1, kMaxThreads))
      ->group(group);
  command.add_option("--context", context, "most tokens of prompt and answer [the model's own, bounded by memory]")
      ->type_name("N")
      ->check(CLI::Range(1, kMaxContext))
      ->group(group);
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
  LoadedModel loaded = LoadedModel::load(resolve_model(model), options, make_ops());
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

void SpeculationOptions::add_to(CLI::App& command) {
  command
      .add_option("--speculate", form,
                  "guess tokens and keep what the model would have said anyway: mtp (the checkpoint's own module), "
                  "lookup (repetitions in the text), off [auto: mtp where there is one]")
      ->type_name("HOW")
      ->check(CLI::IsMember({"auto", "off", "lookup", "mtp"}))
      ->group("Model");
}

std::optional<Speculation> SpeculationOptions::chosen() const {
  for (const Speculation known : {Speculation::off, Speculation::lookup, Speculation::mtp})
    if (form == name(known)) return known;
  return std::nullopt;
}

void SamplingOptions::add_to(CLI::App& command) {
  constexpr const char* group = "Sampling (defaults: the checkpoint's generation_config.json)";
  const auto add = [&](const char* name, auto& value, const char* what, const char* type) {
    return command.add_option(name, value, what)->type_name(type)->group(group);
  };
  add("--max-tokens", max_tokens, "longest answer [what is left of the context]", "N")
      ->check(CLI::Range(0, kMaxContext));
  add("--temperature", temperature, "0 is greedy", "X")->check(within(SamplingParams::kTemperature));
  add("--top-k", top_k, "keep the k likeliest tokens; 0 keeps all", "K")->check(within(SamplingParams::kTopK));
  add("--top-p", top_p, "keep the likeliest tokens that together have this probability", "P")
      ->check(within(SamplingParams::kTopP));
  add("--min-p", min_p, "keep tokens at least this fraction as likely as the likeliest", "P")
      ->check(within(SamplingParams::kMinP));
  add("--repeat-penalty", repeat_penalty, "divides the logits of tokens seen before; 1 is off", "X")
      ->check(within(SamplingParams::kRepeatPenalty));
  add("--presence-penalty", presence_penalty, "subtracted once from tokens of the answer", "X")
      ->check(within(SamplingParams::kPresencePenalty));
  add("--frequency-penalty", frequency_penalty, "subtracted as often as the answer has the token", "X")
      ->check(within(SamplingParams::kFrequencyPenalty));
  add("--seed", seed, "same seed, same request, same text [drawn]", "N")->check(check_seed);
  add("--stop", stops, "end the answer before this text; may be given several times", "TEXT")
      ->allow_extra_args(false)
      ->check([](const std::string& value) { return value.empty() ? "an empty text would end every answer" : ""; });
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
