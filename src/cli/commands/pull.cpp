// cachalot pull: a model from a Hugging Face hub, into the hub's own cache.
#include <fmt/format.h>

#include "base/error.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/pulling.h"
#include "cli/terminal.h"

namespace cachalot {
namespace {

constexpr int kMostConnections = 64;

struct PullCommandOptions {
  std::string model;
  PullOptions pull;
};

int pull(const PullCommandOptions& o) {
  const auto name = HubName::parse(o.model);
  if (!name)
    throw Error(fmt::format("{} is no name of a repository", quote(o.model)))
        .hint("it is REPO[@REVISION][:TYPE], as Qwen/Qwen3-0.6B or Qwen/Qwen3-0.6B-GGUF:q8_0");
  print_whole_text(pull_model(*name, o.pull).string() + "\n");
  return 0;
}

}  // namespace

Command pull_command() {
  auto o = std::make_shared<PullCommandOptions>();
  Command command{.name = "pull", .about = "Fetch a model from a Hugging Face hub"};
  command.add({.name = "MODEL",
               .help = "REPO[@REVISION][:TYPE]; a type, or a file's name, says which of several GGUF files",
               .value = &o->model,
               .required = true});
  command.add({.name = "--yes",
               .help = "of several GGUF files take the one that is proposed, without a question",
               .value = &o->pull.yes});
  command.add({.name = "--anyway", .help = "fetch also what does not run here", .value = &o->pull.anyway});
  command.add({.name = "--connections",
               .help = "parts of a file that are fetched at once",
               .value = &o->pull.connections,
               .type = "N",
               .shows_default = true,
               .range = Range{1, kMostConnections}});
  command.footer = R"(Examples:
  cachalot pull Qwen/Qwen3-0.6B
  cachalot pull Qwen/Qwen3-8B-GGUF:q4_k_m
  cachalot pull deepseek-ai/DeepSeek-V2-Lite@main --anyway

Says what the model is, what it takes and whether it runs before its weights are fetched. Files go where Hugging Face's client keeps them, and both find what the other fetched; stdout gets the model's place. Ctrl-C leaves what is there, and the same command goes on.
HF_ENDPOINT names another hub, HF_TOKEN or `hf auth login` who asks, HF_HUB_CACHE the folder, HTTPS_PROXY a proxy, SSL_CERT_FILE certificates to trust in place of the system's.)";
  command.work = [o] { return pull(*o); };
  return command;
}

}  // namespace cachalot
