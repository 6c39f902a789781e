// cachalot logits: given tokens through the model, their logits streamed into a file.
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/input.h"
#include "cli/options.h"
#include "engine/scoring.h"
#include "formats/safetensors/writer.h"

namespace cachalot {
namespace {

struct LogitsOptions {
  ModelOptions model;
  TokensInput tokens;
  std::string out;
  bool last = false;
};

int logits(const LogitsOptions& o) {
  const auto tokens = o.tokens.read();
  const LoadedModel model = o.model.load_to_score(/*text=*/false, o.tokens.chunk);
  check_fits(tokens.size(), model.plan.context);
  const int64_t rows = o.last ? 1 : std::ssize(tokens);
  SafetensorsWriter writer(o.out, {{"logits", DType::f32, {rows, model.transformer->spec().vocab}}}, {},
                           o.tokens.files_with(model.checkpoint));
  Progress bar("computing", true);
  int broken = 0;  // rows
  score(
      *model.ops, *model.transformer, tokens,
      {.kv = model.kv,
       .chunk = o.tokens.chunk,
       .decode_from = o.tokens.decode_from,
       .declared_tokens = std::clamp<int>(o.tokens.decode_from, 0, static_cast<int>(tokens.size())),  // as a prompt's
       .expanded = expanded_spans(static_cast<int>(tokens.size())),
       .last_only = o.last},
      [&](int row, std::span<const float> logits_W) {
        writer.append(logits_W);
        broken += !std::all_of(logits_W.begin(), logits_W.end(), [](float x) { return std::isfinite(x); });
        bar.update(row, std::ssize(tokens));
      });
  bar.finish();
  writer.finish();
  if (broken > 0)
    warn("{} of {} rows hold NaN or infinities: the weights or the arithmetic are broken", broken, rows);
  note("{} rows of {} logits written to {}", rows, model.transformer->spec().vocab, o.out);
  return 0;
}

}  // namespace

Command logits_command() {
  auto o = std::make_shared<LogitsOptions>();
  Command command{.name = "logits", .about = "Write the logits of given tokens to a file"};
  o->model.add_to(command);
  o->tokens.add_to(command);
  command.add({.name = "--out",
               .help = "the safetensors file to write: one tensor 'logits' [tokens, vocabulary], f32",
               .value = &o->out,
               .type = "FILE",
               .required = true});
  command.add({.name = "--last", .help = "only the last row", .value = &o->last});
  command.check = [o] { return o->tokens.given() ? "" : "--tokens or --tokens-file is required"; };
  command.footer = "Example:\n  cachalot logits tiny-r1 --tokens 1,2,3 --weights f32 --out logits.safetensors";
  command.work = [o] { return logits(*o); };
  return command;
}

}  // namespace cachalot
