// cachalot quantize: a checkpoint as one GGUF file with weights of fewer bits.
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "convert/importance_ops.h"
#include "convert/quantize.h"
#include "engine/scoring.h"
#include "formats/checkpoint_files.h"
#include "formats/gguf/writer.h"
#include "model/gguf_config.h"

namespace cachalot {
namespace {

struct QuantizeWords {
  std::string model, out, type, calibration;
  int threads = 0;
  bool force = false, json = false, pull = false;
};

struct Totals {
  int64_t numbers = 0, stored_bytes = 0, bytes = 0;
};

Totals totals_of(const std::vector<QuantizedKind>& kinds) {
  Totals t;
  for (const QuantizedKind& k : kinds) t.numbers += k.numbers, t.stored_bytes += k.stored_bytes, t.bytes += k.bytes;
  return t;
}

double bits(const Totals& t) {
  return 8.0 * static_cast<double>(t.bytes) / static_cast<double>(std::max<int64_t>(1, t.numbers));
}

void print_kinds(const std::vector<QuantizedKind>& kinds) {
  size_t width = 6;
  for (const QuantizedKind& k : kinds) width = std::max(width, k.kind.size());
  std::string text = fmt::format("{:<{}}  {:<7} {:>5} {:>10} {:>10}  {}\n", "tensor", width, "type", "count",
                                 "numbers", "bytes", "error");
  for (const QuantizedKind& k : kinds) {
    const double error = k.relative_error();
    text += fmt::format("{:<{}}  {:<7} {:>5} {:>10} {:>10}  {}{}\n", printable(k.kind), width, name(k.type),
                        k.tensors, count_text(k.numbers), bytes_text(k.bytes),
                        k.square_sum == 0 ? "copied"
                        : error == 0      ? "none"
                                          : fmt::format("{:.3f} %", 100 * error),
                        k.weighted ? ", weighted" : "");
  }
  const Totals t = totals_of(kinds);
  text += fmt::format("{} numbers in {} of weights, {:.2f} bits per number; {} before\n", count_text(t.numbers),
                      bytes_text(t.bytes), bits(t), bytes_text(t.stored_bytes));
  print_text(text);
}

void print_json(const QuantizeWords& o, const Recipe& recipe, const std::vector<QuantizedKind>& kinds) {
  using Json = nlohmann::ordered_json;
  const Totals t = totals_of(kinds);
  Json list = Json::array();
  for (const QuantizedKind& k : kinds)
    list.push_back({{"kind", k.kind},
                    {"type", name(k.type)},
                    {"tensors", k.tensors},
                    {"numbers", k.numbers},
                    {"stored_bytes", k.stored_bytes},
                    {"bytes", k.bytes},
                    {"relative_error", k.relative_error()},
                    {"weighted", k.weighted}});
  const Json report = {{"file", o.out},           {"type", recipe.name},        {"numbers", t.numbers},
                       {"bytes", t.bytes},        {"bits_per_number", bits(t)}, {"stored_bytes", t.stored_bytes},
                       {"kinds", std::move(list)}};
  fmt::print("{}\n", report.dump(-1, ' ', false, Json::error_handler_t::replace));
}

constexpr int kWindow = 512;  // tokens of calibration text read together

// Runs the text through the model, as it is stored, and keeps what its matrices were multiplied with.
Importance calibrate(const Checkpoint& checkpoint, const std::string& file, int threads) {
  const auto tokens = TextModel::read(checkpoint).tokenizer.encode(read_input(file), /*special=*/false);
  if (tokens.empty()) throw Error("the calibration text is empty").in(file);
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
  spec.family = family.name;
  keep_stored(family, checkpoint, spec);
  spec.mtp.clear();
  CpuOps cpu(best_kernels(), threads);
  const int window = std::min(kWindow, spec.context);
  plan_memory(spec, bind_tensors(family, spec, checkpoint, {}), cpu, {.context = window, .scores = true},
              DType::bf16);
  ImportanceOps ops(cpu);
  Progress loading("loading", true);
  const Transformer model(spec, load_weights(family, spec, checkpoint, {}, ops,
                                             [&](int64_t done, int64_t total) { loading.update(done, total); }));
  loading.finish();
  Progress bar("calibrating", true);
  for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(window)) {
    const auto part =
        std::span(tokens).subspan(begin).first(std::min<size_t>(static_cast<size_t>(window), tokens.size() - begin));
    score(ops, model, part, {.kv = DType::bf16, .no_head = model.spec().headless},
          [](int, std::span<const float>) {});
    bar.update(static_cast<int64_t>(begin + part.size()), std::ssize(tokens));
  }
  bar.finish();
  note("calibrated on {} tokens of {}", tokens.size(), file);
  return ops.importance();
}

int quantize_model(const QuantizeWords& o) {
  const Recipe& recipe = recipe_named(o.type);
  const Checkpoint checkpoint = Checkpoint::open(find_model(o.model, o.pull));
  const int threads = o.threads > 0 ? o.threads : default_threads();
  const auto existing = o.force ? WholeFile::Existing::replace : WholeFile::Existing::keep;
  auto inputs = files_of(checkpoint);
  if (!o.calibration.empty()) inputs.emplace_back(o.calibration);
  WholeFile::check(o.out, existing, inputs);  // before the work, and again by the writer
  Importance importance;
  if (!o.calibration.empty()) importance = calibrate(checkpoint, o.calibration, threads);
  Progress bar("quantizing", true);
  const QuantizeOptions options = {.recipe = recipe,
                                   .existing = existing,
                                   .inputs = inputs,
                                   .threads = threads,
                                   .importance = o.calibration.empty() ? nullptr : &importance,
                                   .progress = [&](int64_t done, int64_t total) { bar.update(done, total); }};
  const auto kinds = quantize_checkpoint(checkpoint, o.out, options);
  bar.finish();
  if (o.json)
    print_json(o, recipe, kinds);
  else
    print_kinds(kinds);
  return 0;
}

std::string check_recipe(const std::string& name) {
  try {
    recipe_named(name);
  } catch (const Error& e) { return e.what(); }
  return {};
}

}  // namespace

Command quantize_command() {
  auto o = std::make_shared<QuantizeWords>();
  Command command{.name = "quantize", .about = "Write a checkpoint as GGUF with weights of fewer bits"};
  add_model_argument(command, o->model, o->pull);
  command.add({.name = "OUT", .help = "the .gguf file to write", .value = &o->out, .required = true});
  std::vector<std::string_view> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  command.add({.name = "--type",
               .help = fmt::format("how to hold the matrices: {}", fmt::join(names, ", ")),
               .value = &o->type,
               .type = "TYPE",
               .required = true,
               .check = check_recipe});
  command.add({.name = "--calibration",
               .help = "a text like those the model will see: weights that meet larger inputs are held more exactly",
               .value = &o->calibration,
               .type = "FILE"});
  command.add({.name = "--threads",
               .help = "worker threads [physical cores]",
               .value = &o->threads,
               .type = "N",
               .range = Range{1, 4096}});
  command.add({.name = "--force", .help = "replace OUT if it exists", .value = &o->force});
  add_json_flag(command, o->json);
  command.footer =
      R"(Vectors and the routers of experts are written as f32. A type of blocks of 256 gives way to one of 32 where the rows
are not a multiple of it. Tensors that are stored in blocks of no more bits are copied. The table says what each kind
of tensor became, and the error: the root mean square of what changed over that of the numbers.

With --calibration the model reads the text first. The output matrices of routed experts and the up-projections of
latents are not weighted: their inputs are not seen from outside.

Examples:
  cachalot quantize ./Qwen3-0.6B qwen3-q8_0.gguf --type q8_0
  cachalot quantize ./Qwen3-0.6B qwen3-q4_k_m.gguf --type q4_k_m --calibration book.txt
  cachalot quantize model-BF16.gguf model-Q4_K_M.gguf --type q4_k_m)";
  command.work = [o] { return quantize_model(*o); };
  return command;
}

}  // namespace cachalot
