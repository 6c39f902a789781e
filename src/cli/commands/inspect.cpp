// cachalot inspect: what a checkpoint holds, what it takes to run it here, and why it may not run. Reads headers
// only; a config.json alone will do.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/commands/inspect_report.h"
#include "cli/pulling.h"

namespace cachalot {

namespace {

struct InspectOptions {
  ModelOptions model;
  bool tensors = false, speed = false, json = false;
};

int inspect(const InspectOptions& o) {
  Inspection inspection = inspect_model(find_model(o.model.model, o.model.pull), o.model);
  if (o.speed && inspection.decodes())
    inspection.token_seconds = seconds_of_token(*o.model.make_ops(), inspection.token_reads);
  if (o.speed && !inspection.token_seconds)
    note("no speed is told: {}",
         inspection.decodes() ? "a token reads too few weights to tell by" : "it does not decode here");
  if (o.json) {
    using Json = nlohmann::ordered_json;
    fmt::print("{}\n", inspection_json(inspection).dump(-1, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  print_inspection(inspection);
  if (o.tensors) print_tensors(inspection);
  return 0;
}

}  // namespace

Command inspect_command() {
  auto o = std::make_shared<InspectOptions>();
  Command command{.name = "inspect", .about = "Show what a checkpoint holds and whether it runs here"};
  o->model.add_to(command);
  std::erase_if(command.options,
                [](const Option& option) { return option.name == "--threads"; });  // nothing of the model is computed
  command.add({.name = "--tensors", .help = "list every tensor (JSON always does)", .value = &o->tensors});
  command.add({.name = "--speed", .help = "measure how fast it would decode here", .value = &o->speed});
  add_json_flag(command, o->json);
  command.footer =
      "MODEL may also be a config.json, or a folder with no more than that: what a model needs can be seen before "
      "it\n"
      "is downloaded.\n\n"
      "Examples:\n  cachalot inspect ./Qwen3-0.6B --context 32768\n  cachalot inspect model.gguf --tensors\n"
      "  cachalot inspect DeepSeek-R1/config.json --context 8192 --weights bf16";
  command.work = [o] { return inspect(*o); };
  return command;
}

}  // namespace cachalot
