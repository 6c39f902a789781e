// Conversations as `chat` has them.
#include "session/conversation.h"

#include <gtest/gtest.h>

#include "ops/cpu/cpu_ops.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

const auto kNever = [] { return false; };

LoadedModel load(const std::string& name, std::unique_ptr<Ops> ops) {
  return LoadedModel::load(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models" / name, {.progress = false},
                           std::move(ops));
}

struct Heard {
  std::string text, reasoning;
  AnswerSink sink() {
    return {.reasoning = [this](std::string_view piece) { reasoning += piece; },
            .text = [this](std::string_view piece) { text += piece; }};
  }
};

class Conversations : public ::testing::TestWithParam<const char*> {};

TEST_P(Conversations, RunWhereTheHostReadsNothing) {
  const LoadedModel cpu = load(GetParam(), std::make_unique<CpuOps>(best_kernels(), 2)),
                    guarded = load(GetParam(), std::make_unique<GuardedOps>(best_kernels(), 2));
  Conversation here(cpu, {.max_tokens = 40, .stops = {}}), there(guarded, {.max_tokens = 40, .stops = {}});
  for (const char* question : {"What is 47 + 86?", "What is 12 * 3?", "And 5 - 3?"}) {
    Heard heard;
    const Answer a = here.say(question, heard.sink(), kNever), b = there.say(question, {}, kNever);
    EXPECT_FALSE(a.tokens.empty());
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(heard.text, a.text);
    EXPECT_EQ(heard.reasoning, a.reasoning);
  }
}

INSTANTIATE_TEST_SUITE_P(Shipped, Conversations, ::testing::Values("tiny-qwen", "tiny-r1"),
                         [](const auto& info) { return std::string(info.param).substr(5); });

TEST(Conversation, KnowsWhatWasSaidAndForgetsOnDemand) {
  const LoadedModel model = load("tiny-r1", std::make_unique<CpuOps>(best_kernels(), 2));
  Conversation conversation(model, {.sampling = {.temperature = 0}, .stops = {}});
  EXPECT_FALSE(conversation.can_retry());
  const Answer first = conversation.say("What is 47 + 86?", {}, kNever);
  EXPECT_EQ(first.text, "133");
  const Answer second = conversation.say("What is 47 + 86?", {}, kNever);
  EXPECT_GT(second.prompt_tokens, first.prompt_tokens);
  EXPECT_EQ(conversation.retry({}, kNever).prompt_tokens, second.prompt_tokens) << "the last answer is forgotten";
  conversation.start("");
  EXPECT_FALSE(conversation.can_retry());
  EXPECT_EQ(conversation.say("What is 47 + 86?", {}, kNever).tokens, first.tokens);
}

TEST(Conversation, IsAsItWasWhenThereIsNoAnswer) {
  const LoadedModel model = load("tiny-qwen", std::make_unique<CpuOps>(best_kernels(), 2));
  Conversation conversation(model, {.sampling = {.temperature = 0}, .stops = {}});
  const Answer first = conversation.say("What is 47 + 86?", {}, kNever);
  EXPECT_THROW(conversation.say(std::string(5000, '7'), {}, kNever), Error);
  const Answer cut = conversation.say("What is 1 + 1?", {}, [] { return true; });
  EXPECT_EQ(cut.finish, FinishReason::cancelled);
  EXPECT_EQ(cut.text, "");
  Conversation other(model, {.sampling = {.temperature = 0}, .stops = {}});
  other.say("What is 47 + 86?", {}, kNever);
  EXPECT_EQ(conversation.say("What is 2 + 3?", {}, kNever).tokens, other.say("What is 2 + 3?", {}, kNever).tokens);
}

TEST(Answers, LookAtWhoseNewsItIs) {
  const LoadedModel model = load("tiny-qwen", std::make_unique<CpuOps>(best_kernels(), 2));
  const PromptWriter prompts(*model.text, model.defaults.end_tokens);
  const Prompt prompt = prompts.chat({{"messages", {{{"role", "user"}, {"content", "What is 47 + 86?"}}}}});
  Engine alone(*model.ops, *model.transformer, model.engine_options()),
      shared(*model.ops, *model.transformer, model.engine_options());
  const AnswerOptions options{.sampling = {.temperature = 0}, .stops = {}};
  const Answer want = answer(alone, model, prompt, options, {}, kNever);
  shared.submit({.prompt = {1, 2, 3, 4, 5}, .max_tokens = 50});
  EXPECT_EQ(answer(shared, model, prompt, options, {}, kNever).tokens, want.tokens);
}

TEST(Answers, EndBeforeAStopText) {
  const LoadedModel model = load("tiny-qwen", std::make_unique<CpuOps>(best_kernels(), 2));
  const PromptWriter prompts(*model.text, model.defaults.end_tokens);
  const Prompt prompt = prompts.chat({{"messages", {{{"role", "user"}, {"content", "What is 47 + 86?"}}}}});
  Engine engine(*model.ops, *model.transformer, model.engine_options());
  Heard heard;
  const Answer whole = answer(engine, model, prompt, {.sampling = {.temperature = 0}, .stops = {}}, {}, kNever);
  const std::string stop = "=13";  // in the reasoning
  ASSERT_NE(whole.reasoning.find(stop), std::string::npos);
  const Answer cut =
      answer(engine, model, prompt, {.sampling = {.temperature = 0}, .stops = {stop}}, heard.sink(), kNever);
  EXPECT_EQ(cut.reasoning, whole.reasoning.substr(0, whole.reasoning.find(stop)));
  EXPECT_EQ(heard.reasoning, cut.reasoning);
  EXPECT_EQ(cut.text, "");
  EXPECT_EQ(cut.finish, FinishReason::stop);
}

}  // namespace
}  // namespace cachalot::testing
