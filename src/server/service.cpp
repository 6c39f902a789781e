#include "server/service.h"

#include <fmt/ranges.h>

#include "engine/block_key.h"
#include "kernels/table.h"
#include "server/anthropic/anthropic.h"
#include "server/openai/openai.h"
#include "server/responses/responses.h"

namespace cachalot {

// Of what decides an answer's bits beside the request, as far as it can be told without reading weights: the file,
// its tensors, what they are held in, cache and instruction set.
static std::string fingerprint(const LoadedModel& model) {
  std::string facts = fmt::format("{}\n{}\n{}\n{}\n{}\n", model.checkpoint.path().filename().string(),
                                  model.family->name, model.plan.weight_bytes, name(model.kv), best_kernels().isa);
  for (const StoredTensor& t : model.checkpoint.tensors())
    facts += fmt::format("{} {} {}\n", t.name, name(t.dtype), fmt::join(t.shape, ","));
  return fmt::format("fp_{:016x}", KeyMaker().root(facts).words[0]);
}

Service::Model::Model(LoadedModel model, const ServiceOptions& options)
    : loaded(std::move(model)),
      served{.id = options.model_names.at(0),
             .other_names = {options.model_names.begin() + 1, options.model_names.end()},
             .created = std::time(nullptr),
             .text = *loaded.text,
             .defaults = loaded.defaults,
             .prompts = PromptWriter(*loaded.text, loaded.defaults.end_tokens),
             .context = loaded.plan.context,
             .vocab = loaded.transformer->spec().vocab,
             .width = loaded.transformer->spec().width,
             .embedding = loaded.embedding,
             .fingerprint = fingerprint(loaded)},
      engine(loaded, options.engine) {}

RouterOptions Service::router_options() {
  RouterOptions router = options_.router;
  router.heard = [this](std::string_view route, int status, double seconds) {
    metrics_.http_request(route, status, seconds);
  };
  return router;
}

Service::Service(ServiceOptions options)
    : options_(std::move(options)),
      metrics_(options_.model_names.at(0)),
      router_(router_options(), health_),
      responses_(options_.responses) {
  options_.engine.metrics = &metrics_;
  add_routes();
  add_response_routes();
  add_message_routes();
  http_ = std::make_unique<http::Server>(
      options_.host, options_.port, options_.limits, [this](http::Exchange& exchange) { router_.handle(exchange); },
      [this](int status, std::string_view why, std::string_view path) { return router_.refuse(status, why, path); });
  listening_ = http_.get();
}

Service::~Service() { http_.reset(); }

void Service::serve(LoadedModel model) {
  model_ = std::make_unique<Model>(std::move(model), options_);
  health_.ready();
}

void Service::stop(std::chrono::milliseconds grace) {
  const auto end = std::chrono::steady_clock::now() + grace;
  health_.drain();
  http_->stop();
  if (model_) {
    model_->engine.stop(grace);
    model_->engine.join();
  }
  // The last words of answers that were cut short are still on their way.
  constexpr std::chrono::milliseconds kLastWords{2'000};
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  http_->wait(std::max(left, kLastWords));
}

// Callers share the machine equally, and unless it is said otherwise, nobody sees by the time of an answer what
// others have asked.
Caller Service::caller(const Call& call) const {
  return {.name = call.caller, .salt = options_.share_prefix ? "" : call.caller};
}

static void tell(const RequestNotes& notes, RequestLog& log) {
  log.text("model", notes.model);
  if (notes.prompts > 1) log.count("prompts", notes.prompts);
  if (notes.answers > 1) log.count("answers", notes.answers);
  if (notes.prompt_tokens > 0) {
    log.count("prompt_tokens", notes.prompt_tokens);
    log.count("cached_tokens", notes.cached_tokens);
    if (!notes.prefix.empty()) log.text("prefix", notes.prefix);
    log.count("completion_tokens", notes.completion_tokens);
  }
  if (notes.first_token) log.count("first_token_ms", notes.first_token->count());
  if (!notes.finish.empty()) log.text("finish", notes.finish);
  if (!notes.error.empty()) log.text("error", notes.error);
}

// What is noted goes to the log also when the client leaves.
template <class Work>
static auto noted(Work work) {
  return [work](Call& call) {
    struct Telling {
      RequestNotes notes;
      RequestLog& log;
      ~Telling() { tell(notes, log); }
    } telling{{}, call.log};
    work(call, telling.notes);
  };
}

void Service::add_routes() {
  const auto generating = [&](auto endpoint) {
    return noted([this, endpoint](Call& call, RequestNotes& notes) {
      endpoint(call.http, model_->served, model_->engine, caller(call), notes);
    });
  };
  router_.add({"POST", "/v1/chat/completions", generating(openai::chat_completions)});
  router_.add({"POST", "/v1/completions", generating(openai::completions)});
  router_.add({"POST", "/v1/embeddings", generating(openai::embeddings)});
  router_.add({"GET", "/v1/models", [this](Call& call) { openai::models(call.http, model_->served); }});
  router_.add({"GET", "/v1/models/*", noted([this](Call& call, RequestNotes& notes) {
                 openai::one_model(call.http, model_->served, call.rest, notes);
               })});
  router_.add({"POST", "/tokenize", noted([this](Call& call, RequestNotes& notes) {
                 openai::tokenize(call.http, model_->served, notes);
               })});
  router_.add({"POST", "/detokenize", noted([this](Call& call, RequestNotes& notes) {
                 openai::detokenize(call.http, model_->served, notes);
               })});
  router_.add({.method = "GET",
               .path = "/metrics",
               .handler =
                   [this](Call& call) {
                     if (const http::Server* http = listening_) metrics_.connections(http->connections());
                     call.http.send({.body = metrics_.text(), .content_type = Metrics::kContentType});
                   },
               .needs_model = false,
               .logged = false});
}

void Service::add_response_routes() {
  router_.add({"POST", "/v1/responses", noted([this](Call& call, RequestNotes& notes) {
                 responses::create(call.http, model_->served, model_->engine, responses_, caller(call), notes);
               })});
  router_.add({"POST", "/v1/responses/input_tokens", noted([this](Call& call, RequestNotes& notes) {
                 responses::count_input(call.http, model_->served, responses_, caller(call), notes);
               })});
  const auto kept = [&](const char* method, auto endpoint) {
    router_.add({method, "/v1/responses/*",
                 [this, endpoint](Call& call) { endpoint(call.http, responses_, caller(call), call.rest); }});
  };
  kept("GET", responses::get_kept);
  kept("DELETE", responses::delete_kept);
  kept("POST", responses::post_to_kept);
}

void Service::add_message_routes() {
  const auto add = [&](const char* method, const char* path, CallHandler handler) {
    router_.add({.method = method, .path = path, .handler = std::move(handler), .shape = anthropic::error_response});
  };
  add("POST", "/v1/messages", noted([this](Call& call, RequestNotes& notes) {
        anthropic::messages(call.http, model_->served, model_->engine, caller(call), notes);
      }));
  add("POST", "/v1/messages/count_tokens",
      noted([this](Call& call, RequestNotes& notes) { anthropic::count_tokens(call.http, model_->served, notes); }));
  for (const char* method : {"GET", "POST"})
    add(method, "/v1/messages/*", [](Call& call) { anthropic::not_here(call.http); });
}

}  // namespace cachalot
