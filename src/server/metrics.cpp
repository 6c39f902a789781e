#include "server/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <fstream>

namespace cachalot {

namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

// 1, 2, 5, 10, … times `least`, up to `most`.
Buckets steps(double least, double most) {
  Buckets buckets;
  for (int decade = 0;; ++decade)
    for (const int digit : {1, 2, 5}) {
      const double bound = least * digit * std::pow(10, decade);
      if (bound > most * 1.001) return buckets;
      buckets.push_back(std::stod(fmt::format("{:.6g}", bound)));  // so that 0.01 is written so
    }
}

// A count that somebody else keeps.
class Followed {
 public:
  explicit Followed(Counter& counter) : counter_(counter) {}
  void reach(int64_t value) {
    if (value > last_) counter_.Increment(static_cast<double>(value - std::exchange(last_, value)));
  }

 private:
  Counter& counter_;
  int64_t last_ = 0;
};

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

struct Metrics::Series {
  explicit Series(const std::string& model) : labels{{"model_name", model}} {}

  prometheus::Registry registry;
  const prometheus::Labels labels;

  Counter& counter(const char* name, const char* help, const prometheus::Labels& more = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Labels(labels).Register(registry).Add(more);
  }
  Gauge& gauge(const char* name, const char* help, const prometheus::Labels& more = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Labels(labels).Register(registry).Add(more);
  }
  Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Labels(labels).Register(registry).Add({}, buckets);
  }

  // -- What runs
  Gauge& running = gauge("vllm:num_requests_running", "Answers that are computed now.");
  Gauge& waiting = gauge("vllm:num_requests_waiting", "Requests that wait to be computed.");
  Gauge& kv_usage = gauge("vllm:kv_cache_usage_perc", "Share of the cache's blocks in use, 1 = all.");
  Followed preempted{counter("vllm:num_preemptions_total", "Answers that had to give way and go on later.")};
  Followed paused{counter("cachalot_pauses_total", "Steps that an answer waited through for want of a block.")};
  Histogram& step_rows = histogram("vllm:iteration_tokens_total", "Rows of a step.", steps(1, 10000));
  Histogram& step_seconds = histogram("cachalot_step_seconds", "Seconds of a step.", steps(0.0001, 10));
  Followed rows{counter("cachalot_rows_total", "Rows computed and kept.")};
  Followed rows_again{counter("cachalot_rows_again_total", "Of those, rows that had been computed before.")};
  int64_t rows_before = 0;

  // -- The cache
  static constexpr const char* kBlocksHelp = "Blocks of 64 tokens: held, free but findable, and empty.";
  Gauge& blocks_held = gauge("cachalot_cache_blocks", kBlocksHelp, {{"state", "held"}});
  Gauge& blocks_findable = gauge("cachalot_cache_blocks", kBlocksHelp, {{"state", "findable"}});
  Gauge& blocks_empty = gauge("cachalot_cache_blocks", kBlocksHelp, {{"state", "empty"}});
  Followed evictions{counter("cachalot_cache_evictions_total", "Blocks forgotten because their room was needed.")};
  Followed copies{counter("cachalot_cache_copies_total", "Blocks copied before writing, as others need them, too.")};
  Counter& queries = counter("vllm:prefix_cache_queries_total", "Prompt tokens looked for in the cache.");
  Counter& hits = counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the cache.");

  // -- Tokens
  Counter& prompt_tokens = counter("vllm:prompt_tokens_total", "Prompt tokens of the requests that have begun.");
  Counter& generated = counter("vllm:generation_tokens_total", "Tokens of answers.");
  Counter& embedded = counter("cachalot_embeddings_total", "Embeddings made of prompts.");
  Counter& drafts = counter("vllm:spec_decode_num_drafts_total", "Times that tokens were guessed.");
  Counter& drafted = counter("vllm:spec_decode_num_draft_tokens_total", "Tokens guessed.");
  Counter& accepted = counter("vllm:spec_decode_num_accepted_tokens_total", "Tokens guessed right.");

  // -- Requests
  Histogram& first_token =
      histogram("vllm:time_to_first_token_seconds", "Seconds from a request to its first token.", steps(0.001, 1000));
  Histogram& between =
      histogram("vllm:inter_token_latency_seconds",
                "Seconds between an answer's tokens; those of one step count once.", steps(0.001, 100));
  Histogram& per_token = histogram("vllm:request_time_per_output_token_seconds",
                                   "Seconds per token after the first, of a request that ended.", steps(0.001, 100));
  Histogram& queued =
      histogram("vllm:request_queue_time_seconds", "Seconds that a request waited to begin.", steps(0.001, 1000));
  Histogram& prefill = histogram("vllm:request_prefill_time_seconds",
                                 "Seconds from its beginning to the first token.", steps(0.001, 1000));
  Histogram& decode =
      histogram("vllm:request_decode_time_seconds", "Seconds from the first token to the last.", steps(0.001, 10000));
  Histogram& whole =
      histogram("vllm:e2e_request_latency_seconds", "Seconds from a request to its end.", steps(0.01, 10000));
  Histogram& request_prompt =
      histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", steps(1, 200000));
  Histogram& request_generated =
      histogram("vllm:request_generation_tokens", "Tokens of a request's answers.", steps(1, 200000));
  Histogram& longest_answer =
      histogram("vllm:request_max_num_generation_tokens", "Tokens of a request's longest answer.", steps(1, 200000));
  Histogram& request_answers =
      histogram("vllm:request_params_n", "Answers that a request asks for.", Buckets{1, 2, 5, 10, 20, 50, 100});
  static constexpr const char* kEndsHelp = "Answers by how they ended.";
  Counter& stopped = counter("vllm:request_success_total", kEndsHelp, {{"finished_reason", "stop"}});
  Counter& cut = counter("vllm:request_success_total", kEndsHelp, {{"finished_reason", "length"}});
  Counter& cancelled = counter("vllm:request_success_total", kEndsHelp, {{"finished_reason", "abort"}});
  Counter& failed = counter("vllm:request_success_total", kEndsHelp, {{"finished_reason", "error"}});

  // -- HTTP and the process
  prometheus::Family<Counter>& http_requests = prometheus::BuildCounter()
                                                   .Name("cachalot_http_requests_total")
                                                   .Help("HTTP requests by route and status.")
                                                   .Register(registry);
  prometheus::Family<Histogram>& http_seconds = prometheus::BuildHistogram()
                                                    .Name("cachalot_http_request_seconds")
                                                    .Help("Seconds of an HTTP request, its whole stream included.")
                                                    .Register(registry);
  const Buckets http_buckets = steps(0.001, 1000);
  Gauge& connections = plain_gauge("cachalot_http_connections", "Open connections.");
  Gauge& resident = plain_gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.");
  Gauge& start = plain_gauge("process_start_time_seconds", "When the process began, since 1970.");

 private:
  Gauge& plain_gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  }
};

Metrics::Metrics(const std::string& model_name) : series_(std::make_unique<Series>(model_name)) {
  series_->start.Set(static_cast<double>(std::time(nullptr)));
}
Metrics::~Metrics() = default;

std::string Metrics::text() const {
  series_->resident.Set(static_cast<double>(resident_bytes()));
  return prometheus::TextSerializer().Serialize(series_->registry.Collect());
}

void Metrics::took(double seconds, const Engine& engine) {
  Series& s = *series_;
  const SchedulerLoad load = engine.load();
  s.running.Set(load.running);
  s.waiting.Set(load.waiting);
  const SchedulerStatistics& scheduler = engine.statistics();
  s.preempted.reach(scheduler.preempted);
  s.paused.reach(scheduler.paused);
  s.step_seconds.Observe(seconds);
  s.step_rows.Observe(static_cast<double>(scheduler.rows - std::exchange(s.rows_before, scheduler.rows)));
  s.rows.reach(scheduler.rows);
  s.rows_again.reach(scheduler.rows_again);

  const Cache& cache = engine.cache();
  const CacheStatistics statistics = cache.statistics();
  s.evictions.reach(statistics.evictions);
  s.copies.reach(statistics.block_copies);
  double usage = 0;
  int held = 0, findable = 0, empty = 0;
  for (int g = 0; g < cache.groups(); ++g) {
    const BlockPool& pool = cache.pool(g);
    usage = std::max(usage, static_cast<double>(pool.in_use()) / std::max(1, pool.blocks()));
    held += pool.in_use();
    findable += pool.reusable();
    empty += pool.free();
  }
  s.kv_usage.Set(usage);
  s.blocks_held.Set(held);
  s.blocks_findable.Set(findable);
  s.blocks_empty.Set(empty);
}

void Metrics::began(double queued_seconds, int prompt_tokens, int cached_tokens) {
  series_->queued.Observe(queued_seconds);
  series_->prompt_tokens.Increment(prompt_tokens);
  series_->queries.Increment(prompt_tokens);
  series_->hits.Increment(cached_tokens);
}

void Metrics::first_token(double seconds) { series_->first_token.Observe(seconds); }
void Metrics::between_tokens(double seconds) { series_->between.Observe(seconds); }
void Metrics::generated(int tokens) { series_->generated.Increment(tokens); }
void Metrics::embedded() { series_->embedded.Increment(); }

void Metrics::drafts(int drafted, int accepted) {
  series_->drafts.Increment();
  series_->drafted.Increment(drafted);
  series_->accepted.Increment(accepted);
}

void Metrics::answer_ended(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return series_->stopped.Increment();
    case FinishReason::length: return series_->cut.Increment();
    case FinishReason::cancelled: return series_->cancelled.Increment();
    case FinishReason::error: return series_->failed.Increment();
  }
}

void Metrics::request_ended(const Ended& request) {
  Series& s = *series_;
  s.whole.Observe(request.whole);
  s.request_prompt.Observe(request.prompt_tokens);
  s.request_generated.Observe(static_cast<double>(request.tokens));
  s.longest_answer.Observe(static_cast<double>(request.longest));
  s.request_answers.Observe(request.answers);
  if (request.tokens == 0) return;
  s.prefill.Observe(request.first);
  s.decode.Observe(request.decoding);
  const auto further = static_cast<double>(request.tokens) / request.answers - 1;
  if (further > 0) s.per_token.Observe(request.decoding / further);
}

void Metrics::http_request(std::string_view route, int status, double seconds) {
  const std::string name(route);
  series_->http_requests.Add({{"route", name}, {"status", std::to_string(status)}}).Increment();
  series_->http_seconds.Add({{"route", name}}, series_->http_buckets).Observe(seconds);
}

void Metrics::connections(int open) { series_->connections.Set(open); }

}  // namespace cachalot
