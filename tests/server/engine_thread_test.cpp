// The engine's thread on real models: an answer is the same, bit for bit, alone, among others, found and preempted;
// who leaves frees what he had, and nothing that fails takes anybody else along.
#include "server/engine_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "base/error.h"
#include "load/loaded_model.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/forwarding.h"
#include "server/generations.h"
#include "session/prompt.h"
#include "support/goldens.h"
#include "support/kernels.h"
#include "support/test_models.h"

namespace cachalot::testing {
namespace {

void expect_all_free(const EngineThread& thread) {
  const Engine& engine = thread.engine();
  engine.check_invariants();
  EXPECT_TRUE(engine.idle());
  for (int g = 0; g < engine.cache().groups(); ++g)
    EXPECT_EQ(engine.cache().pool(g).in_use(), 0) << "a block is lost";
}

void end(EngineThread& thread) {
  thread.stop(std::chrono::seconds(60));
  thread.join();
  expect_all_free(thread);
}

// -- Exactness

struct Mode {
  const char* model;
  DType kv;
  size_t prompt = 128;  // tokens at least: with latent attention so many are expanded
};

class SameBits : public ::testing::TestWithParam<Mode> {
 protected:
  LoadedModel model = LoadedModel::load(test_model(GetParam().model),
                                        {.kv = GetParam().kv,
                                         .context = 1024,
                                         .scheduler = {.max_sequences = 17, .step_seconds = 0},
                                         .prompt_logprobs = true,
                                         .progress = false},
                                        std::make_unique<CpuOps>(best_kernels(), 2));
  PromptWriter prompts{*model.text, model.defaults.end_tokens};
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();

  void say(const std::string& role, const std::string& text) {
    messages.push_back({{"role", role}, {"content", text}});
  }
  Request asked(int max_tokens) const {
    const Prompt prompt = prompts.chat({{"messages", messages}, {"add_generation_prompt", true}});
    return {.prompt = prompt.tokens,
            .sampling = {.temperature = 0},
            .max_tokens = max_tokens,
            .end_tokens = {},
            .logprobs = 1,
            .absorbed = prompt.answers};
  }
  static Request other(int index, int max_tokens) {
    Request request{
        .prompt = {}, .sampling = {.temperature = 0}, .max_tokens = max_tokens, .end_tokens = {}, .logprobs = 1};
    for (int i = 0; i < 127; ++i) request.prompt.push_back((i * 31 + 7 * index) % 1000);
    return request;
  }
  // With a cache for everyone, and nothing in it.
  Heard alone(const Request& request) {
    EngineOptions roomy = model.engine_options();
    roomy.cache_tokens = 4096;
    EngineThread thread(*model.ops, *model.transformer, roomy, {});
    Generation generation = thread.start(request);
    const Heard heard = hear_one(generation);
    EXPECT_EQ(heard.cached_tokens, 0);
    EXPECT_EQ(std::ssize(heard.tokens), *request.max_tokens);
    EXPECT_EQ(std::ssize(heard.logprobs), 6 * *request.max_tokens);
    end(thread);
    return heard;
  }
};

// Also a mean, which takes rows of many steps.
TEST_P(SameBits, EmbeddingsComeOnceAndAreThoseOfTheEngineAlone) {
  Metrics metrics("m");
  EngineOptions roomy = model.engine_options();
  roomy.cache_tokens = 4096;
  EngineThread thread(*model.ops, *model.transformer, roomy, {.metrics = &metrics});
  std::vector<Request> requests;
  std::vector<Generation> generations;
  for (int i = 0; i < 9; ++i) {
    requests.push_back(other(i, 5));
    if (i % 3 == 0) requests[static_cast<size_t>(i)].embedding = i == 0 ? Pooling::last : Pooling::mean;
    if (i % 3 == 0) requests[static_cast<size_t>(i)].logprobs = -1;
    generations.push_back(thread.start(requests.back()));
  }
  std::vector<std::vector<float>> embeddings(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    bool ended = false;
    while (!ended && wait(generations[i].queue().wakeup(), 60000))
      for (Event& event : generations[i].queue().take()) {
        ended = event.finished.has_value();
        embeddings[i] = std::move(event.embedding);
      }
    EXPECT_EQ(embeddings[i].empty(), !requests[i].embedding);
  }
  end(thread);
  EXPECT_NE(metrics.text().find("cachalot_embeddings_total{model_name=\"m\"} 3\n"), std::string::npos);

  // Not meanwhile: an engine has its Ops for itself.
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!requests[i].embedding) continue;
    Engine engine(*model.ops, *model.transformer, roomy);
    engine.submit(requests[i]);
    std::vector<float> want;
    while (!engine.idle())
      for (Event& event : engine.step()) want = std::move(event.embedding);
    EXPECT_FALSE(want.empty());
    EXPECT_EQ(embeddings[i], want);
  }
}

// Our prompt grows into its next block but one at its 72nd token or so, the others at their 65th.
TEST_P(SameBits, AloneAmongSixteenOthersAfterAPrefixHitAndAfterAPreemption) {
  std::string question = "Remember: 2 7 1 8 2 8 1 8 2 8 4 5 9 0 4 5 2 3 5 3 6 0 2 8 7 4 7 1 3 5 2 6 6 2 4 9 7 7 5";
  do {
    question += " 7";
    messages = nlohmann::ordered_json::array();
    say("user", question);
  } while (asked(1).prompt.size() < GetParam().prompt || asked(1).prompt.size() % 64 / 4 != 14);
  const Request first = asked(80);
  const Heard first_alone = alone(first);
  std::vector<Heard> others_alone;
  for (int i = 0; i < 3; ++i) others_alone.push_back(alone(other(i, 80)));
  say("assistant", model.text->tokenizer.decode(first_alone.tokens));
  say("user", "And backwards?");
  const Request second = asked(16);
  ASSERT_EQ(second.absorbed.size(), 1u);
  const Heard second_alone = alone(second);

  EngineOptions engine = model.engine_options();
  engine.cache_tokens = 8192;
  EngineThread roomy(*model.ops, *model.transformer, engine, {});
  {
    std::vector<Generation> generations;
    for (int i = 0; i < 8; ++i) generations.push_back(roomy.start(other(i, 20)));
    generations.push_back(roomy.start(first));
    for (int i = 8; i < 16; ++i) generations.push_back(roomy.start(other(i, 20)));
    EXPECT_TRUE(hear_one(generations[8]).same_answer(first_alone)) << "among sixteen others";
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(hear_one(generations[i]).begins(others_alone[i])) << i;
  }
  for (const bool among_others : {false, true}) {
    std::vector<Generation> others;
    for (int i = 0; among_others && i < 3; ++i) others.push_back(roomy.start(other(i, 8)));
    Generation next = roomy.start(second);
    const Heard heard = hear_one(next);
    EXPECT_TRUE(heard.same_answer(second_alone)) << "the second turn";
    EXPECT_GE(heard.cached_tokens, 128);
    EXPECT_EQ(next.queue().finding()->cached_tokens, heard.cached_tokens);
    for (Generation& generation : others) EXPECT_GT(hear_one(generation).cached_tokens, 0);
  }
  end(roomy);
  EXPECT_EQ(roomy.engine().statistics().preempted, 0);

  // Two blocks more than all four begin with, and three fewer than they need.
  engine.cache_tokens = engine.context = (static_cast<int>(first.prompt.size()) / 64 + 2 + 3 * 3 + 2) * 64;
  EngineThread tight(*model.ops, *model.transformer, engine, {});
  {
    std::vector<Generation> generations;
    generations.push_back(tight.start(first));
    for (int i = 0; i < 3; ++i) generations.push_back(tight.start(other(i, 80)));
    EXPECT_TRUE(hear_one(generations[0]).same_answer(first_alone));
    for (size_t i = 0; i < 3; ++i)
      EXPECT_TRUE(hear_one(generations[1 + i]).same_answer(others_alone[i])) << "which may have given way: " << i;
  }
  end(tight);
  EXPECT_GE(tight.engine().statistics().preempted, 1) << "nobody had to give way, so nothing is proved";
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits,
                         ::testing::Values(Mode{"gqa", DType::bf16}, Mode{"window", DType::bf16, 600},
                                           Mode{"mla", DType::bf16}, Mode{"gqa", DType::q8_0}),
                         [](const auto& info) {
                           return std::string(info.param.model) + "_" + std::string(name(info.param.kv));
                         });

// -- A small model, of which much can be asked

std::vector<int32_t> prompt(int tokens, int first = 3) {
  std::vector<int32_t> ids;
  for (int i = 0; i < tokens; ++i) ids.push_back((first + 7 * i) % 97);
  return ids;
}

class EngineThreadTest : public ::testing::Test {
 protected:
  TestModel model{golden_root() / "qwen2/window", best_kernels(), DType::bf16};
  EngineOptions options{.context = 600, .cache_tokens = 2400, .scheduler = {.max_sequences = 8}};

  static Request request(int index, int tokens = 30) {
    return {.prompt = prompt(20 + 13 * (index % 9), index),
            .sampling = {.temperature = 1, .seed = static_cast<uint64_t>(index)},
            .max_tokens = tokens,
            .end_tokens = {},
            .logprobs = 1};
  }
  Heard alone(const Request& request, int answer = 0) {
    EngineThread thread(model.ops, model.transformer, options, {});
    Generation generation = thread.start(request);
    return hear_all(generation, static_cast<size_t>(request.answers)).at(answer);
  }
};

TEST_F(EngineThreadTest, ManyThreadsAskAndSomeLeaveAtAnyTime) {
  constexpr int kThreads = 16, kEach = 6;
  std::vector<Heard> want;
  for (int i = 0; i < kThreads; ++i) want.push_back(alone(request(i)));
  EngineThread thread(model.ops, model.transformer, options, {});
  std::vector<std::thread> clients;
  std::atomic<int> finished = 0, left = 0;
  for (int c = 0; c < kThreads; ++c)
    clients.emplace_back([&, c] {
      Random random(static_cast<uint64_t>(c));
      for (int i = 0; i < kEach; ++i) {
        const auto which = static_cast<size_t>(random.next() % kThreads);
        std::optional<Generation> generation(thread.start(request(static_cast<int>(which))));
        const int patience = random.next() % 3 == 0 ? static_cast<int>(random.next() % 30) : 1000;  // tokens
        Answers answers;
        while (ended(answers) == 0 && std::ssize(answers[0].tokens) < patience) {
          ASSERT_TRUE(wait(generation->queue().wakeup(), 60000));
          hear(generation->queue().take(), answers);
        }
        const Heard& heard = answers[0];
        if (patience == 1000) {
          EXPECT_TRUE(heard.same_answer(want[which]));
          ++finished;
          continue;
        }
        if (random.next() % 2) generation->cancel(0);
        generation.reset();
        ++left;
        EXPECT_TRUE(std::equal(heard.tokens.begin(), heard.tokens.end(), want[which].tokens.begin()));
      }
    });
  for (auto& client : clients) client.join();
  EXPECT_GT(finished, 20);
  EXPECT_GT(left, 10);
  end(thread);
}

// He leaves while a step is being made: there is not one token of his after the next.
TEST_F(EngineThreadTest, WhoLeavesIsGoneWithinOneStepAndNobodyElseNotices) {
  const Heard want = alone(request(1, 60));
  std::optional<Generation> leaving;
  std::shared_ptr<EventQueue> heard_of;
  std::atomic<bool> started = false;
  int steps = 0, step_of_leaving = 0, free_then = 0, free_before = 0;
  EngineThread thread(model.ops, model.transformer, options, {});
  Request staying = request(1, 60);
  std::vector<uint64_t> everything(static_cast<size_t>(model.transformer.spec().vocab + 63) / 64, ~uint64_t{0});
  staying.allowed = [&](int, std::span<const int32_t>) -> std::span<const uint64_t> {
    ++steps;
    if (step_of_leaving == 0 && started && steps > 10) {
      step_of_leaving = steps;
      free_before = thread.engine().cache().pool(0).in_use();
      leaving.reset();
    } else if (step_of_leaving > 0 && steps == step_of_leaving + 1) {
      free_then = thread.engine().cache().pool(0).in_use();
    }
    return everything;
  };
  Request unbounded = request(2, 500);
  leaving.emplace(thread.start(unbounded));
  started = true;
  Generation stays = thread.start(staying);
  EXPECT_TRUE(hear_one(stays).same_answer(want));
  EXPECT_GT(step_of_leaving, 0);
  EXPECT_LT(free_then, free_before) << "the blocks are free in the step after";
  end(thread);
}

TEST_F(EngineThreadTest, OneOfSeveralAnswersMayBeLeft) {
  Request r = request(3, 60);
  r.answers = 3;
  const Heard last = alone(r, 2);
  EngineThread thread(model.ops, model.transformer, options, {});
  Generation generation = thread.start(r);
  generation.cancel(1);
  const Answers answers = hear_all(generation, 3);
  EXPECT_EQ(answers.at(1).finished, FinishReason::cancelled);
  EXPECT_EQ(answers.at(0).finished, FinishReason::length);
  EXPECT_TRUE(answers.at(2).same_answer(last));
  end(thread);
}

TEST_F(EngineThreadTest, ThePromptsLogProbabilitiesComeAndAreGrouped) {
  EngineThread thread(model.ops, model.transformer, options, {});
  Request r = request(3, 0);
  r.prompt = prompt(200);
  r.prompt_logprobs = 2;
  for (int i = 0; i < 2; ++i) {
    Generation generation = thread.start(r);
    const Heard heard = hear_one(generation);
    EXPECT_EQ(heard.told, 200u);
    EXPECT_EQ(heard.finished, FinishReason::length);
    EXPECT_EQ(generation.queue().finding()->why, PrefixFinding::Why::asked);
  }
  end(thread);
}

// -- Who waits, and the end

Busy busy(EngineThread& thread, const Request& request) {
  try {
    thread.start(request);
  } catch (const Busy& busy) { return busy; }
  return {0, "it was not", {}};
}

TEST_F(EngineThreadTest, TheQueueIsBoundedInRequestsAndInTokens) {
  options.scheduler.max_sequences = 2;
  EngineThread thread(model.ops, model.transformer, options, {.max_waiting = 3, .max_waiting_tokens = 1100});
  std::latch go(1);
  std::vector<uint64_t> everything(static_cast<size_t>(model.transformer.spec().vocab + 63) / 64, ~uint64_t{0});
  Request held = request(1);
  held.allowed = [&](int, std::span<const int32_t>) -> std::span<const uint64_t> {
    go.wait();
    return everything;
  };
  std::vector<Generation> generations;
  for (int i = 0; i < 2; ++i) generations.push_back(thread.start(held));
  for (int i = 0; i < 3; ++i) generations.push_back(thread.start(request(i)));
  Busy refused = busy(thread, request(9));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.why, "3 requests wait already");
  EXPECT_GE(refused.retry_after.count(), 1);
  EXPECT_LE(refused.retry_after.count(), 60);
  generations.pop_back();
  // His place is taken back in the next step, which does not come yet.
  go.count_down();
  for (Generation& generation : generations) hear_one(generation);
  Generation again = thread.start(request(9));
  hear_one(again);

  std::latch later(1);
  held.allowed = [&](int, std::span<const int32_t>) -> std::span<const uint64_t> {
    later.wait();
    return everything;
  };
  std::vector<Generation> more;
  for (int i = 0; i < 2; ++i) more.push_back(thread.start(held));
  Request large = request(1);
  large.prompt = prompt(500);
  large.answers = 2;
  EXPECT_EQ(busy(thread, large).status, 0) << "so many tokens may wait";
  large.answers = 3;
  EXPECT_EQ(busy(thread, large).status, 429);
  later.count_down();
  for (Generation& generation : more) hear_one(generation);
  end(thread);
}

TEST_F(EngineThreadTest, AfterStopNobodyBeginsAndWhatRunsMayEnd) {
  EngineThread thread(model.ops, model.transformer, options, {});
  Generation runs = thread.start(request(1, 200));
  thread.stop(std::chrono::seconds(60));
  const Busy refused = busy(thread, request(2));
  EXPECT_EQ(refused.status, 503);
  EXPECT_GE(refused.retry_after.count(), 1);
  EXPECT_EQ(hear_one(runs).finished, FinishReason::length);
  thread.join();
  EXPECT_EQ(busy(thread, request(2)).status, 503);
  expect_all_free(thread);
}

TEST_F(EngineThreadTest, WhatRunsTooLongAfterStopIsCancelledAndHearsIt) {
  options.context = 20000;
  options.cache_tokens = 40000;
  EngineThread thread(model.ops, model.transformer, options, {});
  std::vector<Generation> run;
  for (int i = 0; i < 12; ++i) run.push_back(thread.start(request(i, 19000)));  // some of them wait
  thread.stop(std::chrono::milliseconds(50));
  for (Generation& generation : run) EXPECT_EQ(hear_one(generation).finished, FinishReason::cancelled);
  thread.join();
  expect_all_free(thread);
}

TEST_F(EngineThreadTest, AGenerationMayOutliveItsThread) {
  std::optional<Generation> generation;
  {
    EngineThread thread(model.ops, model.transformer, options, {});
    generation.emplace(thread.start(request(1, 500)));
  }
  EXPECT_EQ(hear_one(*generation).finished, FinishReason::cancelled);
  generation->cancel(0);
  generation.reset();
}

TEST_F(EngineThreadTest, WhatTheEngineRefusesEndsWithAnErrorAlone) {
  const Heard want = alone(request(1));
  EngineThread thread(model.ops, model.transformer, options, {});
  Request bad = request(1);
  bad.prompt = {100000};
  bad.answers = 3;
  EXPECT_THROW(thread.check(bad), Error);
  Generation good = thread.start(request(1)), refused = thread.start(bad);
  for (const auto& [index, answer] : hear_all(refused, 3)) {
    EXPECT_EQ(answer.finished, FinishReason::error);
    EXPECT_NE(answer.error.find("100000 is outside"), std::string::npos);
  }
  EXPECT_TRUE(hear_one(good).same_answer(want));
  end(thread);
}

}  // namespace
}  // namespace cachalot::testing
