// cachalot trace: every marked point of a forward pass into a file, and the comparison of two such files.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/commands/trace_diff.h"
#include "cli/input.h"
#include "cli/options.h"
#include "engine/scoring.h"
#include "formats/safetensors/writer.h"
#include "ops/trace_ops.h"

namespace cachalot {
namespace {

struct TraceOptions {
  ModelOptions model;
  TokensInput tokens;
  std::string out;
  std::vector<std::string> diff;
  double tolerance = 1e-4;
  bool json = false;
};

// Collects marked points in order of their first appearance. A point that is marked several times (chunks of tokens,
// slices of the head) is one tensor whose first dimension grows.
class TraceRecorder {
 public:
  void record(std::string_view point, const Tensor& tensor, std::span<const float> numbers) {
    auto [at, fresh] = points_.try_emplace(std::string(point));
    Point& p = at->second;
    if (fresh) {
      order_.push_back(&*at);
      p.shape.assign(tensor.shape.begin(), tensor.shape.begin() + tensor.rank);
      p.shape[0] = 0;
    }
    p.shape[0] += tensor.dim(0);
    p.values.insert(p.values.end(), numbers.begin(), numbers.end());
  }

  size_t write(const std::string& file, WholeFile::Inputs inputs) const {
    std::vector<SafetensorsWriter::Entry> entries;
    entries.reserve(order_.size());
    for (const auto* point : order_) entries.push_back({point->first, DType::f32, point->second.shape});
    SafetensorsWriter writer(file, entries, {{kTraceOrderKey, kTraceOrderForward}}, inputs);
    for (const auto* point : order_) writer.append(point->second.values);
    writer.finish();
    return entries.size();
  }

 private:
  struct Point {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  std::map<std::string, Point> points_;
  std::vector<const std::pair<const std::string, Point>*> order_;
};

int record(const TraceOptions& o) {
  const auto tokens = o.tokens.read();
  const LoadedModel model = o.model.load_to_score(/*text=*/false, o.tokens.chunk);
  check_fits(tokens.size(), model.plan.context);
  const auto inputs = o.tokens.files_with(model.checkpoint);
  WholeFile::check(o.out, WholeFile::Existing::replace, inputs);
  TraceRecorder recorder;
  TraceOps ops(*model.ops, [&](std::string_view point, const Tensor& tensor, std::span<const float> numbers) {
    recorder.record(point, tensor, numbers);
  });
  score(
      ops, *model.transformer, tokens,
      {.kv = model.kv,
       .chunk = o.tokens.chunk,
       .decode_from = o.tokens.decode_from,
       .declared_tokens = std::clamp<int>(o.tokens.decode_from, 0, static_cast<int>(tokens.size()))},  // as `logits`
      [](int, std::span<const float>) {});
  note("{} points of {} tokens written to {}", recorder.write(o.out, inputs), tokens.size(), o.out);
  return 0;
}

int trace(const TraceOptions& o) {
  if (!o.diff.empty()) return print_trace_diff(o.diff[0], o.diff[1], o.tolerance, o.json);
  return record(o);
}

}  // namespace

// What the words lack that, without --diff, a trace is made of.
static std::string missing(const TraceOptions& o) {
  if (!o.diff.empty()) return "";
  if (o.model.model.empty()) return "MODEL is required";
  if (!o.tokens.given()) return "--tokens or --tokens-file is required";
  return o.out.empty() ? "--out is required" : "";
}

Command trace_command() {
  auto o = std::make_shared<TraceOptions>();
  Command command{.name = "trace", .about = "Write what a model computes, point by point, or compare two such files"};
  o->model.add_to(command, /*model_required=*/false);
  o->tokens.add_to(command);
  command.add({.name = "--out",
               .help = "the safetensors file to write: layer.0.attn.q and so on, f32",
               .value = &o->out,
               .type = "FILE"});
  Option diff{.name = "--diff",
              .help = "compare two files; exit status 1 if they differ",
              .value = &o->diff,
              .type = "A B",
              .words = 2};
  for (const Option& other : command.options) diff.excludes.push_back(other.name);
  command.add(diff);
  command.add({.name = "--tolerance",
               .help = "of --diff: differences up to X are none [0.0001]",
               .value = &o->tolerance,
               .type = "X",
               .range = Range{0, 1e30},
               .needs = {"--diff"}});
  command.add({.name = "--json", .help = "of --diff: print one JSON object", .value = &o->json, .needs = {"--diff"}});
  command.check = [o] { return missing(*o); };
  command.footer = R"(Examples:
  cachalot trace tiny-r1 --tokens 1,2,3 --weights f32 --out ours.safetensors
  cachalot trace --diff ours.safetensors reference.safetensors)";
  command.work = [o] { return trace(*o); };
  return command;
}

}  // namespace cachalot
