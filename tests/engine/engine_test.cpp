// The engine on a small real checkpoint: what requests get, however many run at once.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "engine/scoring.h"
#include "ops/forwarding.h"
#include "support/goldens.h"

namespace cachalot::testing {

struct Answer {
  std::vector<int32_t> tokens;
  std::optional<FinishReason> finished;
  std::string error;
};

static std::map<RequestId, Answer> run_to_end(Engine& engine) {
  std::map<RequestId, Answer> answers;
  for (int steps = 0; !engine.idle() && steps < 10000; ++steps)
    for (const Event& event : engine.step()) {
      Answer& answer = answers[event.request];
      EXPECT_FALSE(answer.finished) << "an event after the end";
      if (event.token) answer.tokens.push_back(*event.token);
      answer.finished = event.finished;
      answer.error = event.error;
    }
  return answers;
}

static std::vector<int32_t> prompt(int tokens, int first = 3) {
  std::vector<int32_t> ids;
  for (int i = 0; i < tokens; ++i) ids.push_back((first + 7 * i) % 97);
  return ids;
}

class EngineTest : public ::testing::Test {
 protected:
  TestModel model{golden_root() / "qwen2/window", best_kernels(), DType::bf16};
  EngineOptions options{.context = 300, .cache_tokens = 300};
};

TEST_F(EngineTest, GreedyTokensAreTheArgmaxOfTheModelsOwnLogits) {
  Engine engine(model.ops, model.transformer, options);
  const auto id = engine.submit({.prompt = prompt(20), .sampling = {.temperature = 0}, .max_tokens = 30});
  const auto answer = run_to_end(engine).at(id);
  EXPECT_EQ(answer.finished, FinishReason::length);
  ASSERT_EQ(answer.tokens.size(), 30u);
  auto all = prompt(20);
  all.insert(all.end(), answer.tokens.begin(), answer.tokens.end());
  score(model.ops, model.transformer, all, {}, [&](int row, std::span<const float> logits) {
    if (row < 19 || row >= 49) return;
    EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), all[static_cast<size_t>(row) + 1]);
  });
}

TEST_F(EngineTest, ARequestGetsTheSameTokensAloneAndAmongOthersEvenWhenTheCacheIsTooSmallForAll) {
  const auto request = [](int i) {
    return Request{.prompt = prompt(30 + 17 * i, i), .sampling = {.temperature = 1, .seed = 5}, .max_tokens = 80};
  };
  Engine together(model.ops, model.transformer, {.context = 300, .cache_tokens = 600, .scheduler = {.max_rows = 50}});
  std::vector<RequestId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(together.submit(request(i)));
  const auto answers = run_to_end(together);
  for (int i = 0; i < 6; ++i) {
    Engine alone(model.ops, model.transformer, options);
    const auto id = alone.submit(request(i));
    EXPECT_EQ(answers.at(ids[static_cast<size_t>(i)]).tokens, run_to_end(alone).at(id).tokens) << "request " << i;
  }
}

TEST_F(EngineTest, EndTokensStopAndAreNotPartOfTheAnswer) {
  Engine free_running(model.ops, model.transformer, options);
  auto id = free_running.submit({.prompt = prompt(20), .sampling = {.temperature = 0}, .max_tokens = 10});
  const auto tokens = run_to_end(free_running).at(id).tokens;
  Engine engine(model.ops, model.transformer, options);
  id = engine.submit({.prompt = prompt(20), .sampling = {.temperature = 0}, .end_tokens = {-1, tokens[4]}});
  const auto answer = run_to_end(engine).at(id);
  const auto first = std::find(tokens.begin(), tokens.end(), tokens[4]);
  EXPECT_EQ(answer.tokens, std::vector<int32_t>(tokens.begin(), first));
  EXPECT_EQ(answer.finished, FinishReason::stop);
}

TEST_F(EngineTest, AFullContextEndsWithLength) {
  Engine engine(model.ops, model.transformer, options);
  const auto id = engine.submit({.prompt = prompt(290), .sampling = {.temperature = 0}});
  const auto answer = run_to_end(engine).at(id);
  EXPECT_EQ(answer.tokens.size(), 10u);
  EXPECT_EQ(answer.finished, FinishReason::length);
}

TEST_F(EngineTest, CancelledAndEmptyRequestsEndOnce) {
  Engine engine(model.ops, model.transformer, options);
  const auto cancelled = engine.submit({.prompt = prompt(20)}),
             none = engine.submit({.prompt = prompt(20), .max_tokens = 0});
  engine.step();
  engine.cancel(cancelled);
  engine.cancel(cancelled);
  const auto answers = run_to_end(engine);
  EXPECT_EQ(answers.at(cancelled).finished, FinishReason::cancelled);
  EXPECT_FALSE(answers.contains(none)) << "its end came with the first step";
  EXPECT_TRUE(engine.idle());
}

TEST_F(EngineTest, RequestsThatCannotRunAreRefusedByName) {
  Engine engine(model.ops, model.transformer, options);
  const auto message = [&](Request request) -> std::string {
    try {
      engine.submit(std::move(request));
    } catch (const Error& e) { return e.what(); }
    return "accepted";
  };
  EXPECT_NE(message({}).find("the prompt is empty"), std::string::npos);
  EXPECT_NE(message({.prompt = prompt(300)}).find("300 tokens, but the context holds 300"), std::string::npos);
  EXPECT_NE(message({.prompt = {1, 100000}}).find("token 100000 is outside"), std::string::npos);
  EXPECT_NE(message({.prompt = {-1}}).find("token -1 is outside"), std::string::npos);
  EXPECT_NE(message({.prompt = {1}, .sampling = {.top_p = 2}}).find("top_p"), std::string::npos);
  EXPECT_NE(message({.prompt = {1}, .answers = 0}).find("0 answers"), std::string::npos);
  EXPECT_NE(message({.prompt = {1}, .answers = 1000}).find("1000 answers"), std::string::npos);
  EXPECT_NE(message({.prompt = {1}, .computed_from = -1}).find("computed_from"), std::string::npos);
  for (const std::vector<PositionSpan>& spans :
       {std::vector<PositionSpan>{{-1, 2}}, {{2, 2}}, {{3, 2}}, {{0, 21}}, {{0, 5}, {4, 6}}, {{6, 8}, {0, 2}}})
    EXPECT_NE(message({.prompt = prompt(20), .absorbed = spans}).find("the span"), std::string::npos);
  EXPECT_TRUE(engine.idle());
}

// -- Ends in the middle

TEST_F(EngineTest, CancellingOneOfSeveralAnswersLeavesTheOthersAsTheyAre) {
  Request request{.prompt = prompt(100), .sampling = {.seed = 5}, .max_tokens = 60, .end_tokens = {}};
  std::vector<std::vector<int32_t>> alone;
  for (int i = 0; i < 4; ++i) {
    Engine engine(model.ops, model.transformer, options);
    const auto id = engine.submit(request);
    alone.push_back(run_to_end(engine).at(id).tokens);
    ++request.sampling.seed;
  }
  request.sampling.seed = 5;
  request.answers = 4;
  for (const int cancelled : {0, 2})
    for (const int after : {0, 1, 2, 3, 9}) {  // steps: before its prompt is computed, and with forks of all ages
      SCOPED_TRACE(::testing::Message() << "answer " << cancelled << " after " << after << " steps");
      Engine engine(model.ops, model.transformer, {.context = 300, .cache_tokens = 1200});
      const auto id = engine.submit(request);
      std::map<int, Answer> answers;
      const auto step = [&] {
        for (const Event& event : engine.step()) {
          Answer& answer = answers[event.answer];
          EXPECT_EQ(event.request, id);
          EXPECT_FALSE(answer.finished);
          if (event.token) answer.tokens.push_back(*event.token);
          answer.finished = event.finished;
        }
        engine.check_invariants();
      };
      for (int i = 0; i < after; ++i) step();
      engine.cancel(id, cancelled);
      engine.check_invariants();
      while (!engine.idle()) step();
      ASSERT_EQ(answers.size(), 4u);
      for (int i = 0; i < 4; ++i) {
        const Answer& answer = answers.at(i);
        EXPECT_EQ(answer.finished, i == cancelled ? FinishReason::cancelled : FinishReason::length);
        if (i != cancelled) { EXPECT_EQ(answer.tokens, alone[static_cast<size_t>(i)]) << "answer " << i; }
      }
      EXPECT_EQ(engine.cache().pool(0).in_use(), 0);
    }
}

TEST_F(EngineTest, WhoPausesMayBeCancelledAndWhatItHadIsTakenOrFound) {
  Engine engine(model.ops, model.transformer, {.context = 300, .cache_tokens = 11 * 64});
  std::vector<RequestId> ids;
  for (int i = 0; i < 4; ++i)
    ids.push_back(engine.submit({.prompt = prompt(145 - 15 * i, i), .sampling = {.seed = 5}, .max_tokens = 150}));
  while (engine.statistics().paused == 0) engine.step();
  for (const auto id : {ids[1], ids[2]}) engine.cancel(id);
  engine.check_invariants();
  const auto answers = run_to_end(engine);
  for (const auto id : {ids[1], ids[2]}) EXPECT_EQ(answers.at(id).finished, FinishReason::cancelled);
  for (const auto id : {ids[0], ids[3]}) EXPECT_EQ(answers.at(id).finished, FinishReason::length);
  EXPECT_EQ(engine.cache().pool(0).in_use(), 0);
}

// On which every row takes so long.
class SlowOps final : public ForwardingOps {
 public:
  SlowOps(Ops& inner, double seconds_per_row) : ForwardingOps(inner), seconds_per_row_(seconds_per_row) {}
  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    now += seconds_per_row_ * static_cast<double>(ids.size());
    return inner().embed(ids, table);
  }
  double now = 0;

 private:
  double seconds_per_row_;
};

TEST_F(EngineTest, StepsHaveTheRowsThatTheTimeOfAStepAllows) {
  for (const auto& [seconds_per_row, rows] : {std::pair{1.0, 64}, {0.25 / 100, 100}, {1e-6, 512}}) {
    SlowOps ops(model.ops, seconds_per_row);
    Engine engine(ops, model.transformer,
                  {.context = 4000, .cache_tokens = 4000, .seconds = [&ops] { return ops.now; }});
    engine.submit({.prompt = prompt(3500), .max_tokens = 1});
    int64_t before = 0, last = 0;
    for (int step = 0; step < 6; ++step) {
      engine.step();
      last = engine.statistics().rows - std::exchange(before, engine.statistics().rows);
    }
    EXPECT_NEAR(static_cast<double>(last), rows, 1);
  }
}

// A copy of a checkpoint in which the first numbers of the final norm are NaN.
static std::filesystem::path checkpoint_with_nan() {
  const auto from = golden_root() / "qwen3/plain",
             to = std::filesystem::path(::testing::TempDir()) / "nan_checkpoint";
  std::filesystem::create_directories(to);
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(from / name, to / name, std::filesystem::copy_options::overwrite_existing);
  const auto file = SafetensorsFile::parse(MappedFile(from / "model.safetensors"));
  const auto* norm = file.find("model.norm.weight");
  const auto offset = norm->bytes.data() - file.file()->bytes().data();
  std::fstream out(to / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(offset);
  out.write("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  return to;
}

TEST(EngineNan, NotANumberEndsTheRequestWithAnErrorAndNotTheProcess) {
  TestModel broken(checkpoint_with_nan(), best_kernels());
  Engine engine(broken.ops, broken.transformer, {.context = 100, .cache_tokens = 100});
  const auto id = engine.submit({.prompt = {1, 2, 3}});
  const auto answer = run_to_end(engine).at(id);
  EXPECT_EQ(answer.finished, FinishReason::error);
  EXPECT_NE(answer.error.find("NaN"), std::string::npos);
  const auto told = engine.submit({.prompt = {1, 2, 3}, .max_tokens = 0, .prompt_logprobs = 1});
  EXPECT_NE(run_to_end(engine).at(told).error.find("NaN"), std::string::npos);
}

}  // namespace cachalot::testing
