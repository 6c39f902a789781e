// cachalot serve: a model for everyone who speaks OpenAI's API or Anthropic's, until a signal ends it.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <exception>
#include <filesystem>
#include <optional>
#include <set>
#include <thread>

#include "base/ending.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loopback.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/pulling.h"
#include "cli/terminal.h"
#include "server/service.h"

namespace cachalot {
namespace {

constexpr int kMostSequences = 1024, kMostWaiting = 1 << 20, kMostSeconds = 86'400;

struct ServeOptions {
  ModelOptions model;
  SpeculationOptions speculation;
  std::string host = "127.0.0.1", key_file, log = "requests";
  int port = 8080, sequences = 32, waiting = 256, cache_tokens = 0, connections = 1024, grace_seconds = 30;
  int response_mebibytes = 64;
  std::vector<std::string> names, origins;
  bool share_prefix = false;
};

// What clients call the model: the last part of its name or path, without what a file's name says of its kind.
std::string public_name(std::string model) {
  while (model.size() > 1 && model.ends_with('/')) model.pop_back();
  if (std::filesystem::exists(model)) model = std::filesystem::absolute(model).lexically_normal().filename().string();
  if (model.ends_with(".gguf")) model.resize(model.size() - 5);
  return model;
}

void check_names(const std::vector<std::string>& names) {
  std::set<std::string> known;
  for (const std::string& name : names) {
    if (name.empty()) throw Error("a model's name is empty").in("--model-name");
    if (!known.insert(name).second) throw Error(fmt::format("{} is given twice", quote(name))).in("--model-name");
  }
}

ServiceOptions service_options(const ServeOptions& o) {
  ServiceOptions s{
      .host = o.host, .port = static_cast<uint16_t>(o.port), .model_names = o.names, .share_prefix = o.share_prefix};
  if (!o.key_file.empty()) s.router.keys = Keys::read(o.key_file);
  s.router.cors_origins = o.origins;
  if (o.log == "requests") s.router.log = [](std::string_view line) { say(line); };
  s.limits.connections = o.connections;
  s.engine.max_waiting = o.waiting;
  s.responses.bytes = static_cast<size_t>(o.response_mebibytes) << 20;
  return s;
}

LoadOptions load_options(const ServeOptions& o) {
  LoadOptions load = o.model.load_options();
  load.speculation = o.speculation.chosen();
  load.scheduler.max_sequences = o.sequences;
  load.scheduler.state_snapshots = SchedulerOptions().state_snapshots;
  load.cache_tokens = o.cache_tokens;
  load.roomy_cache = true;
  load.prompt_logprobs = true;
  return load;
}

// The signals that end a server. They are waited for; this thread and those that it starts do not hear them
// otherwise.
class EndingSignals {
 public:
  EndingSignals() {
    sigemptyset(&signals_);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
      struct sigaction known = {};
      const bool ignored = sigaction(number, nullptr, &known) == 0 && known.sa_handler == SIG_IGN;  // nohup
      if (!ignored) sigaddset(&signals_, number);
    }
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~EndingSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  EndingSignals(const EndingSignals&) = delete;
  EndingSignals& operator=(const EndingSignals&) = delete;
  // One that has come within that time.
  std::optional<int> wait(std::chrono::milliseconds time) const {
    const timespec span{time.count() / 1000, time.count() % 1000 * 1'000'000};
    const int number = sigtimedwait(&signals_, nullptr, &span);
    return number > 0 ? std::optional(number) : std::nullopt;
  }

 private:
  sigset_t signals_, before_;
};

struct Ended {};  // thrown while loading: nobody waits for the model any more

// Loads on a thread of its own, as this one waits for signals.
class Loading {
 public:
  Loading(const ServeOptions& o, Service& service)
      : thread_([this, &o, &service] {
          try {
            LoadOptions options = load_options(o);
            options.loading = [&](int64_t done, int64_t total) {
              service.loading(done, total);
              if (ended_) throw Ended();
            };
            service.serve(o.model.load(options));
          } catch (const Ended&) {
          } catch (...) { failure_ = std::current_exception(); }
          done_ = true;
        }) {}
  ~Loading() {
    ended_ = true;
    thread_.join();
  }
  bool done() const { return done_; }
  void rethrow() const {  // once it is done
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::atomic<bool> ended_{false}, done_{false};
  std::exception_ptr failure_;
  std::thread thread_;
};

void say_ready(const Service& service) {
  const MemoryPlan& plan = service.model().plan;
  note("ready on {}/v1 after {:.1f} s: context {} tokens, {} sequences at once, cache {} tokens ({:.2f} GiB)",
       service.address(), service.model().load_ms / 1000, plan.context, plan.scheduler.max_sequences,
       plan.cache_tokens, static_cast<double>(plan.cache_bytes) / (1 << 30));
}

int serve(ServeOptions o) {
  if (o.names.empty()) o.names = {public_name(o.model.model)};
  check_names(o.names);
  const auto path = find_model(o.model.model, o.model.pull);  // what is not there is said before anybody is let in
  o.model.model = path.string();
  const EndingSignals signals;
  Service service(service_options(o));
  if (!is_loopback(o.host) && o.key_file.empty())
    warn("{} can be reached from other machines, and nobody needs a key; --api-key-file FILE asks for one", o.host);
  note("listening on {}, loading {}", service.address(), printable(path.string()));

  std::optional<int> signal;
  constexpr std::chrono::milliseconds kGlance{50}, kLong{60'000};
  {
    const Loading loading(o, service);
    while (!loading.done() && !signal) signal = signals.wait(kGlance);
    if (loading.done()) loading.rethrow();
  }
  if (!signal) say_ready(service);
  while (!signal) signal = signals.wait(kLong);
  note("{}: ending, within {} s; once more ends at once", strsignal(*signal), o.grace_seconds);
  // The second signal is heard by whoever is not busy with ending.
  std::jthread second([&](const std::stop_token& stop) {
    while (!stop.stop_requested())
      if (signals.wait(kGlance)) {
        remove_unfinished_files();
        _exit(128 + *signal);
      }
  });
  service.stop(std::chrono::seconds(o.grace_seconds));
  return 0;
}

}  // namespace

Command serve_command() {
  auto o = std::make_shared<ServeOptions>();
  Command command{.name = "serve", .about = "Answer requests of OpenAI's and Anthropic's APIs over HTTP"};
  o->model.add_to(command);
  o->speculation.add_to(command);
  command.add({.name = "--max-sequences",
               .help = "answers that are computed at once; more wait",
               .value = &o->sequences,
               .type = "N",
               .group = "Model",
               .shows_default = true,
               .range = Range{1, kMostSequences}});
  command.add({.name = "--cache-tokens",
               .help = "what the cache holds over all answers and beginnings, at least --context [as much as all "
                       "answers at once can fill, in at most half of the memory left]",
               .value = &o->cache_tokens,
               .type = "N",
               .group = "Model",
               .range = Range{1, 1 << 30}});
  const auto add = [&](Option option) {
    option.group = "Server";
    command.add(std::move(option));
  };
  add({.name = "--host", .help = "address to listen on", .value = &o->host, .type = "HOST", .shows_default = true});
  add({.name = "--port",
       .help = "0: any free one",
       .value = &o->port,
       .type = "N",
       .shows_default = true,
       .range = Range{0, 65535}});
  add({.name = "--api-key-file",
       .help = "who may ask: a key on each line, and a name behind it",
       .value = &o->key_file,
       .type = "FILE"});
  add({.name = "--model-name",
       .help = "what clients call the model [the last part of MODEL]; given several times: the further ones are "
               "other names of it",
       .value = &o->names,
       .type = "NAME"});
  add({.name = "--share-prefix",
       .help = "what was computed for one key's prompts serves others, too",
       .value = &o->share_prefix});
  add({.name = "--store-responses",
       .help =
           "memory for responses of /v1/responses that clients may ask for again, each for an hour since its last "
           "use; 0: none is kept",
       .value = &o->response_mebibytes,
       .type = "MIB",
       .shows_default = true,
       .range = Range{0, 1 << 20}});
  add({.name = "--cors-origin",
       .help = "pages of this origin may ask from a browser; may be given several times",
       .value = &o->origins,
       .type = "ORIGIN"});
  add({.name = "--max-waiting",
       .help = "requests that wait; more are told to come later (429)",
       .value = &o->waiting,
       .type = "N",
       .shows_default = true,
       .range = Range{0, kMostWaiting}});
  add({.name = "--max-connections",
       .help = "open ones; more are told to come later (503)",
       .value = &o->connections,
       .type = "N",
       .shows_default = true,
       .range = Range{1, kMostWaiting}});
  add({.name = "--log",
       .help = "a line of JSON on stderr for each request, without what was said; or none",
       .value = &o->log,
       .type = "WHAT",
       .shows_default = true,
       .one_of = {"requests", "none"}});
  add({.name = "--grace",
       .help = "seconds that answers have to end when a signal ends the server",
       .value = &o->grace_seconds,
       .type = "S",
       .shows_default = true,
       .range = Range{0, kMostSeconds}});
  command.footer = R"(Examples:
  cachalot serve tiny-r1
  cachalot serve ./Qwen3-0.6B --port 8000 --max-sequences 16
  cachalot serve ./Qwen3-8B-Q4_K_M.gguf --host 0.0.0.0 --api-key-file keys.txt

/v1/chat/completions, /v1/responses, /v1/messages, /v1/completions, /v1/embeddings, /v1/models, /tokenize, /detokenize, /health, /metrics; docs/serving.md says what becomes of every field. SIGTERM or Ctrl-C ends the server once running answers have ended.)";
  command.work = [o] { return serve(*o); };
  return command;
}

}  // namespace cachalot
