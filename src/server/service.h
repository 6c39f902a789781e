// The server as a whole: it listens from the start, answers once it has a model, and ends in order.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine_thread.h"
#include "server/http.h"
#include "server/request_notes.h"
#include "server/responses/store.h"
#include "server/router.h"
#include "server/served_model.h"

namespace cachalot {

struct ServiceOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                  // 0: any free one
  std::vector<std::string> model_names;  // as clients name it; the first is what answers say
  RouterOptions router;
  http::Limits limits;
  EngineThreadOptions engine;
  bool share_prefix = false;  // what was computed for one caller serves the others, too
  responses::ResponseStoreOptions responses;
};

class Service {
 public:
  // Listens; whoever asks is told that the model is not there yet. Throws Error when it cannot.
  explicit Service(ServiceOptions options);
  // Without stop() nobody's answer is waited for.
  ~Service();

  std::string address() const { return http_->address(); }
  // The model's weights are on their way.
  void loading(int64_t done, int64_t total) { health_.loading("loading", done, total); }
  // The model is there: once.
  void serve(LoadedModel model);
  const LoadedModel& model() const { return model_->loaded; }

  // From now on there is no new work, and what runs goes on, for so long at most. Returns when all has been told.
  void stop(std::chrono::milliseconds grace);

 private:
  struct Model {
    Model(LoadedModel model, const ServiceOptions& options);
    LoadedModel loaded;
    ServedModel served;
    EngineThread engine;
  };
  RouterOptions router_options();
  void add_routes();
  void add_response_routes();
  void add_message_routes();
  Caller caller(const Call& call) const;

  ServiceOptions options_;
  Health health_;
  Metrics metrics_;
  Router router_;
  responses::ResponseStore responses_;
  std::unique_ptr<Model> model_;                         // written before health_ is ready, read after
  std::unique_ptr<http::Server> http_;                   // the last member: its threads end first
  std::atomic<const http::Server*> listening_{nullptr};  // that one, once its handlers may see it
};

}  // namespace cachalot
