#include "cli/pulling.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "base/available_memory.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "cli/commands/inspection.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/transfer_meter.h"
#include "hub/pull.h"
#include "hub/stored_models.h"
#include "load/find_model.h"
#include "load/gguf_names.h"

namespace cachalot {

namespace fs = std::filesystem;

namespace {

void fact(std::string_view label, const std::string& text) {
  say(fmt::format("  {:<9}{}\n", label, printable(text)));
}

// --- which of several GGUF files ---

// Types that are read, those that are taken first before the others.
constexpr std::array kReadable = {"q4_k_m", "q5_k_m", "q4_k_s", "q5_k_s", "q6_k", "q8_0", "iq4_xs", "iq4_nl",
                                  "q4_0",   "q4_1",   "q5_0",   "q5_1",   "q4_k", "q5_k", "q3_k_l", "q3_k_m",
                                  "q3_k_s", "q3_k",   "q2_k",   "mxfp4",  "bf16", "f16",  "f32"};

bool fits(const GgufChoice& choice) {
  constexpr double kBesideWeights = 1.05;  // a short context, and what a step takes
  return static_cast<double>(choice.bytes) * kBesideWeights < static_cast<double>(available_memory_bytes());
}

// Types of few bits that no code here reads.
bool is_readable(const GgufChoice& choice) {
  for (const std::string_view stem : {"iq1", "iq2", "iq3", "tq1", "tq2", "nvfp4"})
    if (gguf_type_in(choice.first.path).find(stem) != std::string::npos) return false;
  return true;
}

std::string_view verdict(const GgufChoice& choice) {
  if (!is_readable(choice)) return "of a type that does not run here";
  return fits(choice) ? "fits the memory" : "does not fit the memory";
}

// nullptr: none is both readable and small enough.
const GgufChoice* proposed(const std::vector<GgufChoice>& choices) {
  for (const std::string_view type : kReadable)
    for (const GgufChoice& choice : choices)
      if (choice.name == type && fits(choice)) return &choice;
  return nullptr;
}

std::string table(const std::vector<GgufChoice>& choices) {
  size_t width = 4;
  for (const GgufChoice& choice : choices) width = std::max(width, quote(choice.name).size());
  std::string text;
  for (const GgufChoice& choice : choices)
    text +=
        fmt::format("  {:<{}}  {:>9}  {}\n", quote(choice.name), width, bytes_text(choice.bytes), verdict(choice));
  return text;
}

const GgufChoice& chosen(const std::vector<GgufChoice>& choices, const HubName& name, const Repository& repository,
                         const PullOptions& options) {
  if (name.type) return choice_of(choices, *name.type, repository);
  if (choices.size() == 1) return choices[0];
  say(fmt::format("{} holds {} models:\n{}", name.repo, choices.size(), printable(table(choices))));
  const GgufChoice* proposal = proposed(choices);
  if (proposal && (options.yes ||
                   agrees(fmt::format("fetch {}:{}, {}?", name.repo, proposal->name, bytes_text(proposal->bytes)))))
    return *proposal;
  const std::string example = proposal ? proposal->name : choices[0].name;
  throw Error(fmt::format("the repository holds {} models, and none is named", choices.size()))
      .in(name.repo)
      .hint(fmt::format("name one: {}{}:{}{}", name.repo, name.revision ? "@" + *name.revision : "", example,
                        proposal ? ", which is a good one for this machine" : ""));
}

// --- what it is ---

void describe_speed(const Inspection& i) {
  const auto ops = ModelOptions().make_ops();
  const std::string reads = "a token reads " + bytes_text(static_cast<int64_t>(i.token_reads.bytes()));
  const auto seconds = seconds_of_token(*ops, i.token_reads);
  fact("speed", seconds
                    ? fmt::format("about {} tokens/s, measured with such weights: {}", rate_text(1 / *seconds), reads)
                    : fmt::format("not by its weights: {}", reads));
}

void describe(const Inspection& i, bool with_speed) {
  std::string model = i.family.empty() ? i.architecture : fmt::format("{} (family {})", i.architecture, i.family);
  if (i.counts) model += fmt::format(", {} parameters", count_text(i.counts->total));
  if (i.counts && i.counts->active != i.counts->total)
    model += fmt::format(" of which a token uses {}", count_text(i.counts->active));
  fact("model", model);
  if (i.memory.empty()) return;
  const MemoryChoice& m = i.memory.front();
  std::string memory = fmt::format("needs {} with {} tokens, {} available", memory_text(m.plan.total_bytes()),
                                   i.context, memory_text(i.available_bytes));
  if (!m.plan.fits() && m.context > 0) memory += fmt::format("; fits with {} tokens", m.context);
  fact("memory", memory);
  if (with_speed && i.decodes()) describe_speed(i);
}

// Reasons name files of the temporary folder, which is the repository to a reader.
std::string renamed(std::string text, const std::string& folder, const std::string& repo) {
  for (size_t at = text.find(folder); at != text.npos; at = text.find(folder, at + repo.size()))
    text.replace(at, folder.size(), repo);
  return text;
}

void check_runs(Pull& pull, const PullOptions& options) {
  const fs::path looked = pull.look();
  const std::string folder = (fs::is_directory(looked) ? looked : looked.parent_path()).string();
  std::vector<std::string> reasons;
  try {
    const Inspection inspection = inspect_model(looked, ModelOptions());
    describe(inspection, /*with_speed=*/pull.missing_bytes() > 0);
    reasons = inspection.reasons;
    if (reasons.empty() && !inspection.has_tokenizer) fact("runs", "on token ids only: there is no tokenizer");
  } catch (const Error& error) { reasons.emplace_back(error.what()); }
  if (reasons.empty()) return;
  Error refusal = Error("it does not run here, so it is not fetched").in(pull.repository().name);
  for (const std::string& reason : reasons) {
    const std::string told = renamed(reason, folder, pull.repository().name);
    if (options.anyway) fact("runs", "no: " + told);
    refusal = std::move(refusal).because(told);
  }
  if (!options.anyway) throw std::move(refusal).hint("--anyway fetches it all the same");
}

// What is on the disk, for who cannot reach the hub.
Error with_what_is_here(Error error) {
  std::vector<std::string> names;
  for (const StoredModel& model : stored_models())
    if (model.whole() && names.size() < 12) names.push_back(quote(model.name));
  return names.empty() ? std::move(error).because("no model is on the disk")
                       : std::move(error).because(fmt::format("on the disk are {}", fmt::join(names, ", ")));
}

fs::path fetch(const HubSettings& settings, const HubName& name, const PullOptions& options,
               const Pull::Listener& listener) {
  Pull pull(settings, name, listener, options.connections);
  const Repository& r = pull.repository();
  if (r.now != r.name) note("{} is called {} now", r.name, r.now);
  std::vector<GgufChoice> choices = gguf_choices(r);
  if (!name.type && is_of_safetensors(r)) choices.clear();
  if (choices.empty() && name.type)
    throw Error(fmt::format("a type {} is asked for, but the repository holds no GGUF files", quote(*name.type)))
        .in(name.repo)
        .hint("leave the type out; --weights chooses how weights are held");
  pull.select(choices.empty() ? nullptr : &chosen(choices, name, r, options));
  say(fmt::format("{} at {} ({})\n", r.now, r.commit.substr(0, 12), printable(r.revision)));
  if (!options.anyway || pull.missing_bytes() == 0) check_runs(pull, options);
  fact("on disk",
       fmt::format("{}, of which {} are to be fetched", bytes_text(pull.bytes()), bytes_text(pull.missing_bytes())));
  return pull.fetch();
}

// Whether all files of a model of the cache are there; others are as they are.
bool is_whole(const fs::path& path) {
  std::error_code code;
  if (!is_in_hub_cache(path)) return true;
  if (fs::is_directory(path, code)) return missing_from_snapshot(path).empty();
  const auto files = gguf_files_of(path);
  return std::all_of(files.begin(), files.end(), [&](const fs::path& file) { return fs::exists(file, code); });
}

bool has_terminal() { return is_terminal(stdin) && is_terminal(stderr); }

}  // namespace

bool agrees(std::string_view question) {
  if (!has_terminal()) return false;
  say(fmt::format("{} [y/N] ", printable(question)));
  std::array<char, 64> answer = {};
  if (!std::fgets(answer.data(), static_cast<int>(answer.size()), stdin)) return false;
  return answer[0] == 'y' || answer[0] == 'Y';
}

fs::path pull_model(const HubName& name, const PullOptions& options) {
  const HubSettings settings = HubSettings::from_environment();
  if (settings.offline)
    throw with_what_is_here(Error("nothing is fetched: HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set"));
  const Interrupt interrupt;
  TransferMeter meter;
  Pull::Listener listener;
  listener.cancelled = [&] { return interrupt.requested(); };
  listener.progress = [&](int64_t done, int64_t total) { meter.update(done, total); };
  listener.waits = [&](const RemoteFile& file, bool first) {
    if (first) note("waiting for another process that fetches {}", quote(file.path));
  };
  listener.has = [&](const RemoteFile& file) {
    meter.finish();
    fact("has", fmt::format("{} ({})", file.path, bytes_text(file.size)));
  };
  try {
    return fetch(settings, name, options, listener);
  } catch (const WebFailure& failure) {
    if (failure.reached) throw;
    throw with_what_is_here(failure);
  }
}

fs::path find_model(const std::string& name, bool pull) {
  const auto hub = HubName::parse(name);
  std::error_code code;
  const bool can_be_pulled = hub && !fs::exists(name, code);
  std::optional<fs::path> here;
  try {
    here = resolve_model(name);
    if (!can_be_pulled || is_whole(*here)) return *here;
  } catch (const Error&) {
    if (!can_be_pulled) throw;
    const bool asks = !pull && name.find('/') != name.npos && has_terminal();
    if (!pull && !(asks && agrees(fmt::format("{} is not here. Fetch it from the hub?", name)))) throw;
    return pull_model(*hub, {});
  }
  if (pull || agrees(fmt::format("{} is here in part. Fetch the rest from the hub?", name)))
    return pull_model(*hub, {});
  return *here;
}

}  // namespace cachalot
