// What /metrics says: names that dashboards know, and the numbers that were recorded.
#include "server/metrics.h"

#include <gtest/gtest.h>

#include <thread>

namespace cachalot {
namespace {

// The value of a line of the text, by all that stands before it.
std::string value(const std::string& text, const std::string& series) {
  const auto at = ("\n" + text).find("\n" + series + " ");
  if (at == std::string::npos) return "none";
  const auto begin = at + series.size() + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

TEST(Metrics, TellWhatWasRecordedUnderTheNamesThatDashboardsKnow) {
  Metrics metrics("tiny \"r1\"\\\n");
  const std::string label = R"({model_name="tiny \"r1\"\\\n"})";
  metrics.began(0.5, 100, 64);
  metrics.first_token(0.75);
  metrics.generated(3);
  metrics.between_tokens(0.01);
  metrics.embedded();
  metrics.embedded();
  metrics.drafts(4, 2);
  metrics.answer_ended(FinishReason::cancelled);
  metrics.request_ended(
      {.prompt_tokens = 100, .answers = 1, .tokens = 3, .queued = 0.5, .whole = 1, .first = 0.25, .decoding = 0.2});
  metrics.http_request("/v1/models", 200, 0.001);
  metrics.http_request("/v1/models", 200, 0.002);
  metrics.http_request("/v1/models", 401, 0.001);
  metrics.connections(7);
  const std::string text = metrics.text();
  EXPECT_EQ(value(text, "vllm:prompt_tokens_total" + label), "100");
  EXPECT_EQ(value(text, "vllm:prefix_cache_queries_total" + label), "100");
  EXPECT_EQ(value(text, "vllm:prefix_cache_hits_total" + label), "64");
  EXPECT_EQ(value(text, "vllm:generation_tokens_total" + label), "3");
  EXPECT_EQ(value(text, "cachalot_embeddings_total" + label), "2");
  EXPECT_EQ(value(text, "vllm:spec_decode_num_draft_tokens_total" + label), "4");
  EXPECT_EQ(value(text, "vllm:spec_decode_num_accepted_tokens_total" + label), "2");
  for (const char* name :
       {"vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds", "vllm:request_queue_time_seconds",
        "vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds", "vllm:e2e_request_latency_seconds",
        "vllm:request_prompt_tokens", "vllm:request_generation_tokens", "vllm:request_max_num_generation_tokens",
        "vllm:request_time_per_output_token_seconds"})
    EXPECT_EQ(value(text, std::string(name) + "_count" + label), "1") << name;
  EXPECT_EQ(value(text, "vllm:time_to_first_token_seconds_sum" + label), "0.75");
  const std::string in = label.substr(0, label.size() - 1);
  EXPECT_EQ(value(text, "vllm:request_success_total" + in + R"(,finished_reason="abort"})"), "1");
  EXPECT_EQ(value(text, "vllm:request_success_total" + in + R"(,finished_reason="stop"})"), "0");
  for (const char* name : {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
                           "vllm:num_preemptions_total", "cachalot_rows_again_total"})
    EXPECT_EQ(value(text, name + label), "0") << name;
  EXPECT_EQ(value(text, R"(cachalot_http_requests_total{route="/v1/models",status="200"})"), "2");
  EXPECT_EQ(value(text, R"(cachalot_http_requests_total{route="/v1/models",status="401"})"), "1");
  EXPECT_EQ(value(text, "cachalot_http_connections"), "7");
  EXPECT_GT(std::stod(value(text, "process_resident_memory_bytes")), 1e6);
}

TEST(Metrics, AreRecordedFromManyThreadsAndReadMeanwhile) {
  Metrics metrics("m");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        metrics.generated(1);
        metrics.between_tokens(0.01);
        metrics.http_request("/health", 200, 0.001);
        if (i % 50 == 0) { EXPECT_GT(metrics.text().size(), 1000u); }
      }
    });
  for (auto& thread : threads) thread.join();
  const std::string text = metrics.text();
  EXPECT_EQ(value(text, R"(vllm:generation_tokens_total{model_name="m"})"), "800");
  EXPECT_EQ(value(text, R"(cachalot_http_requests_total{route="/health",status="200"})"), "800");
}

}  // namespace cachalot
