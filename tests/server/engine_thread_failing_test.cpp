// The engine's thread when memory runs out, and by a clock that is made up.
#include <gtest/gtest.h>

#include <atomic>

#include "ops/forwarding.h"
#include "server/engine_thread.h"
#include "server/generations.h"
#include "support/goldens.h"
#include "support/scarce_memory.h"

namespace cachalot::testing {
namespace {

// On which every row takes so long.
class SlowOps final : public ForwardingOps {
 public:
  SlowOps(Ops& inner, double seconds_per_row) : ForwardingOps(inner), seconds_per_row_(seconds_per_row) {}
  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    now = now + seconds_per_row_ * static_cast<double>(ids.size());
    return inner().embed(ids, table);
  }
  std::atomic<double> now = 1;

 private:
  double seconds_per_row_;
};

// A clock that the engine's thread reads before a step, at its begin and end, and before its news are handed on. When
// it is told so, the planning of the step has no memory, or what hands on its news.
class Clock {
 public:
  enum Phase { before_step = 0, before_news = 3 };
  Clock(Phase at, std::function<bool()> fails) : at_(at), fails_(std::move(fails)) {}
  double operator()() {
    if (std::this_thread::get_id() == test_thread_) return 1;
    scarce_memory = {};  // what was handed on without asking for memory
    const bool fails = phase_ == at_ && fails_();
    if (fails) scarce_memory = {.failing = at_ == before_step ? 1 : 3};
    failed += fails;
    if (!fails || at_ != before_step) phase_ = (phase_ + 1) % 4;  // a step that is not planned is tried again
    return 1;
  }
  std::atomic<int> failed = 0;

 private:
  const int at_;
  const std::thread::id test_thread_ = std::this_thread::get_id();
  const std::function<bool()> fails_;
  int phase_ = 0;
};

class EngineThreadFailing : public ::testing::Test {
 protected:
  TestModel model{golden_root() / "qwen2/window", best_kernels(), DType::bf16};
  EngineOptions options{.context = 600, .cache_tokens = 2400, .scheduler = {.max_sequences = 4}};

  static Request request(int index, int tokens = 30) {
    Request r{.prompt = {}, .sampling = {.seed = 5}, .max_tokens = tokens, .end_tokens = {}, .logprobs = 1};
    for (int i = 0; i < 20 + 31 * index; ++i) r.prompt.push_back((index + 7 * i) % 97);
    return r;
  }
  Heard alone(const Request& request) {
    EngineThread thread(model.ops, model.transformer, options, {});
    Generation generation = thread.start(request);
    return hear_one(generation);
  }
};

}  // namespace

TEST_F(EngineThreadFailing, WithoutMemoryForPlansOrForNewsAllIsTriedAgainAndNothingIsLost) {
  std::vector<Heard> want;
  for (int i = 0; i < 4; ++i) want.push_back(alone(request(i)));
  for (const auto phase : {Clock::before_step, Clock::before_news}) {
    int times = 0;
    Clock clock(phase, [&] { return ++times > 8 && times % 3 != 0; });
    options.seconds = std::ref(clock);
    EngineThread thread(model.ops, model.transformer, options, {});
    std::vector<Generation> generations;
    for (int i = 0; i < 4; ++i) generations.push_back(thread.start(request(i)));
    for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(hear_one(generations[i]).same_answer(want[i])) << i;
    thread.stop(std::chrono::seconds(60));
    thread.join();
    thread.engine().check_invariants();
    EXPECT_GT(clock.failed, 10);
  }
}

// Of which the engine's thread can make no copy.
struct Uncopyable {
  std::thread::id test_thread = std::this_thread::get_id();

  Uncopyable() = default;
  Uncopyable(const Uncopyable& other) : test_thread(other.test_thread) {
    if (std::this_thread::get_id() != test_thread) throw std::bad_alloc();
  }
  std::span<const uint64_t> operator()(int, std::span<const int32_t>) const { return {}; }
};

TEST_F(EngineThreadFailing, ARequestThatThereIsNoMemoryForEndsAlone) {
  const Heard want = alone(request(1));
  EngineThread thread(model.ops, model.transformer, options, {});
  for (int i = 0; i < 3; ++i) {
    Request large = request(1);
    large.allowed = Uncopyable();
    large.answers = 2;
    Generation good = thread.start(request(1)), bad = thread.start(std::move(large));
    for (const auto& [index, answer] : hear_all(bad, 2)) EXPECT_EQ(answer.error, "out of memory");
    EXPECT_TRUE(hear_one(good).same_answer(want));
  }
  thread.stop(std::chrono::seconds(60));
  thread.join();
  thread.engine().check_invariants();
}

// No step can be planned while two run: the one that came last is given up, and the other goes on.
TEST_F(EngineThreadFailing, WhoCameLastIsGivenUpWhereNoStepCanBePlanned) {
  const Heard want = alone(request(1, 300));
  std::atomic<bool> armed = false;
  std::atomic<const EngineThread*> watched = nullptr;
  Clock clock(Clock::before_step, [&] {
    const EngineThread* thread = watched;
    return armed && thread && thread->engine().load().running + thread->engine().load().waiting == 2;
  });
  options.seconds = std::ref(clock);
  EngineThread thread(model.ops, model.transformer, options, {});
  watched = &thread;
  Generation first = thread.start(request(1, 300)), last = thread.start(request(2, 300));
  Answers begun;
  while (begun[0].tokens.empty()) {
    ASSERT_TRUE(wait(last.queue().wakeup(), 60000));
    hear(last.queue().take(), begun);
  }
  armed = true;
  while (ended(begun) == 0) {
    ASSERT_TRUE(wait(last.queue().wakeup(), 60000));
    hear(last.queue().take(), begun);
  }
  EXPECT_EQ(begun[0].finished, FinishReason::error);
  EXPECT_EQ(begun[0].error, "out of memory");
  EXPECT_TRUE(hear_one(first).same_answer(want));
  thread.stop(std::chrono::seconds(60));
  thread.join();
  thread.engine().check_invariants();
}

// A step is as long as a quarter of a second allows, so whoever decodes has a token twice in half a second.
TEST_F(EngineThreadFailing, ALongPromptHoldsUpNobodyForHalfASecond) {
  for (const double seconds_per_row : {1 / 250.0, 1 / 2000.0}) {
    SCOPED_TRACE(seconds_per_row);
    SlowOps ops(model.ops, seconds_per_row);
    options.context = 6000;
    options.cache_tokens = 12000;
    options.seconds = [&ops] { return ops.now.load(); };
    EngineThread thread(ops, model.transformer, options, {});
    std::vector<uint64_t> everything(static_cast<size_t>(model.transformer.spec().vocab + 63) / 64, ~uint64_t{0});
    double last = 0, longest = 0;
    Request decoding = request(1, 500);
    decoding.allowed = [&](int, std::span<const int32_t>) -> std::span<const uint64_t> {
      if (last > 0) longest = std::max(longest, ops.now - last);
      last = ops.now;
      return everything;
    };
    Generation stream = thread.start(decoding);
    Request large = request(1, 1);
    for (int i = 0; i < 5000; ++i) large.prompt.push_back(i * i % 97);
    Generation other = thread.start(large);
    EXPECT_EQ(hear_one(other).tokens.size(), 1u);
    EXPECT_EQ(hear_one(stream).tokens.size(), 500u);
    EXPECT_LE(longest, 0.5);
    EXPECT_GE(longest, 0.1) << "the prompt has its share";
    thread.stop(std::chrono::seconds(60));
    thread.join();
    EXPECT_LT(thread.engine().statistics().preempted, 1);
  }
}

TEST_F(EngineThreadFailing, WhatRunsIsMeasured) {
  Metrics metrics("m");
  EngineThread thread(model.ops, model.transformer, options, {.metrics = &metrics});
  for (int i = 0; i < 2; ++i) {
    Generation generation = thread.start(request(3));  // 113 tokens
    hear_one(generation);
  }
  Request several = request(2, 10);
  several.answers = 3;
  Generation generation = thread.start(several);
  hear_all(generation, 3);
  thread.stop(std::chrono::seconds(60));
  thread.join();
  const std::string text = metrics.text();
  for (const char* line :
       {"vllm:prompt_tokens_total{model_name=\"m\"} 308", "vllm:prefix_cache_hits_total{model_name=\"m\"} 112",
        "vllm:generation_tokens_total{model_name=\"m\"} 90", "vllm:num_requests_running{model_name=\"m\"} 0",
        "vllm:time_to_first_token_seconds_count{model_name=\"m\"} 3",
        "vllm:request_max_num_generation_tokens_sum{model_name=\"m\"} 70",
        "vllm:inter_token_latency_seconds_count{model_name=\"m\"} 85",
        "vllm:request_success_total{model_name=\"m\",finished_reason=\"length\"} 5",
        "vllm:e2e_request_latency_seconds_count{model_name=\"m\"} 3",
        "cachalot_cache_blocks{model_name=\"m\",state=\"held\"} 0"})
    EXPECT_NE(text.find(std::string(line) + "\n"), std::string::npos) << line << "\n" << text;
}

}  // namespace cachalot::testing
