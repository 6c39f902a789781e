// The engine on a small real checkpoint: what requests get, however many run at once.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "engine/scoring.h"
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
  EXPECT_TRUE(engine.idle());
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
}

}  // namespace cachalot::testing
