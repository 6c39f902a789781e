// cachalot list and cachalot rm: the models that are on this machine, and how to be rid of one.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "hub/stored_models.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

std::string date_text(std::optional<int64_t> seconds) {
  if (!seconds) return "-";
  const auto time = static_cast<time_t>(*seconds);
  struct tm local = {};
  char text[32] = {};
  if (!localtime_r(&time, &local) || std::strftime(text, sizeof text, "%Y-%m-%d", &local) == 0) return "-";
  return text;
}

Json facts(const StoredModel& m) {
  const auto known = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"name", m.name},
          {"place", name(m.place)},
          {"path", m.path.string()},
          {"family", known(m.family)},
          {"type", known(m.type)},
          {"bytes", m.bytes},
          {"last_use", m.last_use ? Json(*m.last_use) : Json(nullptr)},
          {"whole", m.whole()},
          {"missing", known(m.missing)}};
}

int list(bool json) {
  const std::vector<StoredModel> models = stored_models();
  if (json) {
    Json report = {{"models", Json::array()}};
    for (const StoredModel& model : models) report["models"].push_back(facts(model));
    fmt::print("{}\n", report.dump(-1, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  size_t width = 4;
  for (const StoredModel& model : models) width = std::max(width, std::min<size_t>(60, model.name.size()));
  fmt::print("{:<{}}  {:<16} {:<8} {:>9}  {:<10}  {}\n", "name", width, "family", "type", "size", "last use",
             "where");
  for (const StoredModel& m : models) {
    const auto known = [](const std::string& text) { return text.empty() ? "-" : text; };
    print_text(fmt::format("{:<{}}  {:<16} {:<8} {:>9}  {:<10}  {}{}\n", printable(m.name), width, known(m.family),
                           known(m.type), bytes_text(m.bytes), date_text(m.last_use), name(m.place),
                           m.whole() ? "" : "; not whole: " + m.missing));
  }
  return 0;
}

struct RemoveOptions {
  std::string model;
  bool yes = false;
};

int remove(const RemoveOptions& o) {
  const auto name = HubName::parse(o.model);
  if (!name)
    throw Error(fmt::format("{} is no name in the hub's cache", quote(o.model)))
        .hint("rm frees models of that cache, REPO[@REVISION][:TYPE]; `cachalot list` shows them");
  const Removal removal = plan_removal(*name);
  say(fmt::format("{}: {} files of snapshots and {} of blobs go, which frees {}\n", o.model, removal.files.size(),
                  removal.blobs.size(), bytes_text(removal.bytes)));
  for (const std::string& revision : removal.revisions)
    say(fmt::format("  the revision {} is known no more\n", quote(revision)));
  for (const std::string& sentence : removal.stays) say(fmt::format("  {}\n", printable(sentence)));
  if (!o.yes && !agrees("remove them?")) throw Error("nothing was removed").hint("--yes removes without a question");
  remove_model(*name, removal);
  return 0;
}

}  // namespace

Command list_command() {
  auto json = std::make_shared<bool>(false);
  Command command{.name = "list", .about = "Show the models that are on this machine"};
  add_json_flag(command, *json);
  command.footer =
      "Models that ship, those in the folders of CACHALOT_MODELS, and those in the cache of Hugging Face's client. "
      "The "
      "last use is when the weights were last read, as far as the file system notes it.";
  command.work = [json] { return list(*json); };
  return command;
}

Command rm_command() {
  auto o = std::make_shared<RemoveOptions>();
  Command command{.name = "rm", .about = "Remove a model from the hub's cache"};
  command.add({.name = "MODEL",
               .help = "REPO[@REVISION][:TYPE]; all revisions and types where none is named",
               .value = &o->model,
               .required = true});
  command.add({.name = "--yes", .help = "without a question", .value = &o->yes});
  command.footer = "Example:\n  cachalot rm Qwen/Qwen3-8B-GGUF:q8_0";
  command.work = [o] { return remove(*o); };
  return command;
}

}  // namespace cachalot
