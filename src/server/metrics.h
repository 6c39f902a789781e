// What an operator watches, in Prometheus' text format. Names are vLLM's where it has one of that meaning, so that
// dashboards made for it work; ours begin with cachalot_. They are the current ones: kv_cache_usage_perc was
// gpu_cache_usage_perc once, and inter_token_latency_seconds time_per_output_token_seconds. Buckets are our own.
//
// Any thread may use it; recording takes some ten nanoseconds each.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace cachalot {

class Metrics {
 public:
  // The name is the label model_name of all that tells of the model.
  explicit Metrics(const std::string& model_name);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";
  std::string text() const;

  // By the engine's thread. A step was made.
  void took(double seconds, const Engine& engine);
  // A request begins: it waited so long, and so much of its prompt was cached.
  void began(double queued_seconds, int prompt_tokens, int cached_tokens);
  void first_token(double seconds);     // since it came
  void between_tokens(double seconds);  // of one answer; those of one step count once
  void generated(int tokens);           // in a step
  void embedded();                      // a prompt
  void drafts(int drafted, int accepted);
  void answer_ended(FinishReason reason);
  struct Ended {
    int prompt_tokens = 0, answers = 1;
    int64_t tokens = 0;              // of all answers
    int64_t longest = 0;             // of the longest one
    double queued = 0, whole = 0;    // seconds
    double first = 0, decoding = 0;  // from its beginning to the first token, and from there to the last one
  };
  void request_ended(const Ended& request);

  // By whoever speaks HTTP. The route as it is declared, never as a client wrote it.
  void http_request(std::string_view route, int status, double seconds);
  void connections(int open);

 private:
  struct Series;
  std::unique_ptr<Series> series_;
};

}  // namespace cachalot
