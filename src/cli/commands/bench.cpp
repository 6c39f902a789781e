// cachalot bench: how fast a model runs here, and how near that is to what the machine can do in the same moments.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/commands/bench_phases.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "model/gguf_config.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  ModelOptions model;
  BenchPlan plan;
  bool prefill_stated = false, decode_stated = false;
  bool probes_only = false, json = false;
};

// Probes, remembered.
class Meter {
 public:
  explicit Meter(Probes& probes) : probes_(probes) {}
  Limits operator()() {
    const Limits now = probes_.measure();
    reads_.push_back(now.bytes_per_s);
    operations_.push_back(now.ops_per_s);
    return now;
  }
  Spread reads() const { return spread(reads_); }
  Spread operations() const { return spread(operations_); }

 private:
  Probes& probes_;
  std::vector<double> reads_, operations_;
};

Json to_json(const Spread& s) { return {{"median", s.median}, {"min", s.min}, {"max", s.max}}; }

Json machine_json(const Meter& meter, const char* arithmetic) {
  return {{"bytes_per_s", to_json(meter.reads())},
          {"ops_per_s", to_json(meter.operations())},
          {"arithmetic", arithmetic}};
}

std::string giga(const Spread& s, const char* unit) {
  return fmt::format("{:.1f} {} ({:.1f} … {:.1f})", s.median / 1e9, unit, s.min / 1e9, s.max / 1e9);
}

void print_machine(const Meter& meter, const char* arithmetic, int threads, const char* isa) {
  fmt::print("this machine, {} threads, {}: reads {}, computes {} in {}\n", threads, isa, giga(meter.reads(), "GB/s"),
             giga(meter.operations(), "GOP/s"), arithmetic);
}

int probe_only(const BenchOptions& o) {
  const auto made = o.model.make_ops();
  CpuOps& ops = *made;
  Json json = {{"threads", ops.pool().threads()}, {"isa", ops.kernels().isa}};
  for (const DType inputs : {DType::f32, DType::bf16, DType::i8}) {
    if (inputs == DType::bf16 && !ops.kernels().bf16_loop) continue;
    Probes probes(ops, inputs);
    Meter meter(probes);
    for (int i = 0; i < o.plan.repeat; ++i) meter();
    if (o.json)
      json[probes.arithmetic()] = machine_json(meter, probes.arithmetic());
    else
      print_machine(meter, probes.arithmetic(), ops.pool().threads(), ops.kernels().isa);
  }
  if (o.json) fmt::print("{}\n", json.dump());
  return 0;
}

// Shortens the phases whose lengths nobody stated to what --context or else the model's own holds behind --depth, and
// says so. Throws Error when what was stated is more.
void fit_to_context(BenchOptions& o) {
  int context = o.model.context;
  if (context == 0) {
    const Checkpoint checkpoint = Checkpoint::open(find_model(o.model.model, o.model.pull));
    const Config config = model_config(checkpoint);
    context = family_of(config).spec(config).context;
  }
  const int room = context - o.plan.depth;
  const auto shorten = [&](const char* phase, int& tokens, bool stated) {
    if (stated || room < 1 || tokens <= room) return;
    note("{} of {} tokens instead of {}: the context holds {}", phase, room, tokens, context);
    tokens = room;
  };
  shorten("prefill", o.plan.prefill, o.prefill_stated);
  shorten("decode", o.plan.decode, o.decode_stated);
  if (o.plan.tokens_per_sequence() > context)
    throw Error(fmt::format("the phases need {} tokens per sequence, but the context holds {}",
                            o.plan.tokens_per_sequence(), context))
        .hint("lower --depth, --prefill or --decode, or set --context beyond the model's own");
}

// Loads with a cache for what the phases need.
LoadedModel load_for(const BenchOptions& o, std::unique_ptr<Ops> ops) {
  const int64_t needed = o.plan.cache_tokens();
  if (needed > (1 << 30)) throw Error(fmt::format("{} tokens are more than a cache can hold", needed));
  LoadOptions options = o.model.load_options();
  options.context = o.plan.tokens_per_sequence();
  options.cache_tokens = static_cast<int>(needed);
  options.scheduler = o.plan.scheduler();
  options.text = false;
  LoadedModel model = LoadedModel::load(find_model(o.model.model, o.model.pull), options, std::move(ops));
  model.defaults.sampling = read_sampling_defaults(model.checkpoint).params;
  warn_beyond_training(model.transformer->spec(), o.plan.tokens_per_sequence());
  return model;
}

// What is not at its default.
std::string sampling_text(const SamplingParams& p) {
  if (p.temperature == 0) return "choosing greedily";
  std::string text = fmt::format("sampling with temperature {:g}", p.temperature);
  if (p.top_k > 0) text += fmt::format(", top_k {}", p.top_k);
  if (p.top_p < 1) text += fmt::format(", top_p {:g}", p.top_p);
  if (p.min_p > 0) text += fmt::format(", min_p {:g}", p.min_p);
  if (p.repeat_penalty != 1) text += fmt::format(", repeat_penalty {:g}", p.repeat_penalty);
  return text;
}

Json to_json(const SamplingParams& p) {
  return {{"temperature", p.temperature},
          {"top_k", p.top_k},
          {"top_p", p.top_p},
          {"min_p", p.min_p},
          {"repeat_penalty", p.repeat_penalty}};
}

std::vector<PhaseResult> measure(BenchRunner& runner, const BenchPlan& plan, Meter& meter) {
  std::vector<std::vector<Slice>> prefill, decode;
  Progress bar("measuring", true);
  for (int r = 0; r < plan.repeat; ++r) {
    bar.update(r, plan.repeat);
    if (plan.prefill > 0) prefill.push_back(runner.prefill(std::ref(meter)));
    if (plan.decode > 0) decode.push_back(runner.decode(std::ref(meter)));
  }
  std::vector<PhaseResult> results;
  if (plan.prefill > 0) results.push_back(summarise("prefill", prefill));
  if (plan.decode > 0) results.push_back(summarise("decode", decode));
  return results;
}

Json to_json(const PhaseResult& r) {
  return {{"phase", r.phase},         {"tokens_per_s", to_json(r.tokens_per_s)}, {"bytes_per_s", r.bytes_per_s},
          {"ops_per_s", r.ops_per_s}, {"share_of_limit", r.share_of_limit},      {"limit", r.limit}};
}

void print_results(const std::vector<PhaseResult>& results, const BenchPlan& plan) {
  fmt::print("{:<14}{:>28}{:>10}{:>12}   {}\n", "phase", "tokens/s (min … max)", "GB/s", "GOP/s",
             "share of the limit");
  for (const PhaseResult& r : results) {
    const std::string phase = fmt::format("{} {}", r.phase, r.phase == "prefill" ? plan.prefill : plan.decode);
    const std::string rate = fmt::format("{} ({} … {})", rate_text(r.tokens_per_s.median),
                                         rate_text(r.tokens_per_s.min), rate_text(r.tokens_per_s.max));
    fmt::print("{:<14}{:>28}{:>10.1f}{:>12.1f}   {:.0f} % of {}\n", phase, rate, r.bytes_per_s / 1e9,
               r.ops_per_s / 1e9, 100 * r.share_of_limit, r.limit);
  }
}

int bench(BenchOptions o) {
  if (o.probes_only) return probe_only(o);
  fit_to_context(o);
  auto ops = o.model.make_ops();
  CpuOps& cpu = *ops;
  LoadedModel model = load_for(o, std::move(ops));
  check_results(model);
  const WorkCounter counter(model, cpu, o.model.load_options().weights);
  BenchRunner runner(model, o.plan, counter);
  const auto no_probe = [] { return Limits{1, 1}; };
  if (o.plan.prefill > 0) runner.prefill(no_probe);  // warms up, and shows the memory that a run takes
  if (o.plan.decode > 0) runner.decode(no_probe);
  const int64_t peak_bytes = peak_memory_bytes();

  Probes probes(cpu, counter.inputs());
  Meter meter(probes);
  const auto results = measure(runner, o.plan, meter);
  const int threads = cpu.pool().threads();
  const char* isa = cpu.kernels().isa;
  if (o.json) {
    Json phases = Json::array();
    for (const PhaseResult& r : results) phases.push_back(to_json(r));
    fmt::print("{}\n", Json{{"phases", phases},
                            {"peak_bytes", peak_bytes},
                            {"weight_bytes", model.plan.weight_bytes},
                            {"load_ms", model.load_ms},
                            {"threads", threads},
                            {"isa", isa},
                            {"prefill", o.plan.prefill},
                            {"decode", o.plan.decode},
                            {"depth", o.plan.depth},
                            {"batch", o.plan.batch},
                            {"sampling", to_json(model.defaults.sampling)},
                            {"machine", machine_json(meter, probes.arithmetic())}}
                           .dump());
    return 0;
  }
  print_results(results, o.plan);
  fmt::print("\ndepth {}, batch {}, {}; {} of weights; loaded in {:.2f} s; peak memory {}\n", o.plan.depth,
             o.plan.batch, sampling_text(model.defaults.sampling), bytes_text(model.plan.weight_bytes),
             model.load_ms / 1000, bytes_text(peak_bytes));
  print_machine(meter, probes.arithmetic(), threads, isa);
  return 0;
}

}  // namespace

static std::string missing(const BenchOptions& o) {
  if (o.probes_only) return "";
  if (o.model.model.empty()) return "MODEL is required";
  return o.plan.prefill + o.plan.decode > 0 ? "" : "--prefill and --decode are both 0: there is nothing to measure";
}

Command bench_command() {
  auto o = std::make_shared<BenchOptions>();
  Command command{.name = "bench", .about = "Measure the speed of a model, and what the machine would allow"};
  o->model.add_to(command, /*model_required=*/false);
  const auto add = [&](const char* name, int& value, const char* what, Range range) {
    command.add({.name = name, .help = what, .value = &value, .type = "N", .shows_default = true, .range = range});
  };
  constexpr int most = 1 << 24;
  add("--prefill", o->plan.prefill, "tokens of the prompt, unless the context is shorter; 0 leaves the phase out",
      {0, most});
  add("--decode", o->plan.decode, "tokens made one by one; 0 leaves the phase out", {0, most});
  add("--depth", o->plan.depth, "tokens in the cache before", {0, most});
  add("--batch", o->plan.batch, "sequences side by side", {1, 4096});
  add("--repeat", o->plan.repeat, "repetitions", {1, 1000});
  command.add(
      {.name = "--probes",
       .help = "measure the machine alone; no MODEL is needed",
       .value = &o->probes_only,
       .excludes = {"MODEL", "--weights", "--kv", "--context", "--prefill", "--decode", "--depth", "--batch"}});
  command.option("--prefill").stated = &o->prefill_stated;
  command.option("--decode").stated = &o->decode_stated;
  add_json_flag(command, o->json);
  command.check = [o] { return missing(*o); };
  command.footer =
      R"(Refuses to time a model whose results are wrong. Between measurements all threads probe how fast memory can be read and how
many operations the processor can do; the share is the time that the limiting one of them needs, over the time taken.
A model that fits the processor's caches may exceed the bandwidth of memory. Tokens are chosen as the checkpoint's
generation_config.json says, which is part of the time, and then replaced by random ones.

Examples:
  cachalot bench ./Qwen3-0.6B --depth 4096
  cachalot bench --probes)";
  command.work = [o] { return bench(*o); };
  return command;
}

}  // namespace cachalot
