// A conversation computes what is new, and says the same as one that computes everything (tools/test_models.py: real
// vocabularies and templates, long contexts).
#include <gtest/gtest.h>

#include "ops/cpu/cpu_ops.h"
#include "session/conversation.h"
#include "support/kernels.h"
#include "support/test_models.h"

namespace cachalot::testing {
namespace {

const auto kNever = [] { return false; };

LoadedModel load(const std::string& name, DType kv) {
  return LoadedModel::load(test_model(name), {.kv = kv, .context = 8192, .progress = false},
                           std::make_unique<CpuOps>(best_kernels(), 2));
}

std::string question(int words, int seed) {
  std::string text = "Remember:";
  for (int i = 0; i < words; ++i) text += " " + std::to_string((i * 7919 + seed) % 1000);
  return text;
}

class Reuse : public ::testing::TestWithParam<std::tuple<const char*, DType>> {};

// The second turn finds the first one's question and its answer. Computed cold, by an engine that never saw the first
// turn, it is the same, token for token and bit for bit in what is told of them.
TEST_P(Reuse, ALaterTurnFindsTheEarlierOnesAndAnswersAsIfItHadNot) {
  const auto [name, kv] = GetParam();
  const LoadedModel model = load(name, kv);
  const AnswerOptions options{.sampling = {.temperature = 0.8, .seed = 3}, .max_tokens = 100, .stops = {}};
  const PromptWriter prompts(*model.text, model.defaults.end_tokens);
  Engine warm(*model.ops, *model.transformer, model.engine_options());
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  int first_turn = 0;
  for (int turn = 0; turn < 3; ++turn) {
    messages.push_back({{"role", "user"}, {"content", question(turn == 0 ? 700 : 8, turn)}});
    const Prompt prompt = prompts.chat({{"messages", messages}, {"add_generation_prompt", true}});
    Engine cold(*model.ops, *model.transformer, model.engine_options());
    const Answer found = answer(warm, model, prompt, options, {}, kNever),
                 computed = answer(cold, model, prompt, options, {}, kNever);
    EXPECT_EQ(found.tokens, computed.tokens) << "turn " << turn;
    EXPECT_EQ(computed.cached_tokens, 0);
    if (turn == 0) {
      first_turn = found.prompt_tokens;
      EXPECT_GE(first_turn, 1400);
      EXPECT_EQ(found.cached_tokens, 0);
    } else {
      // All of the turn before, and where the answer is not what a tokenizer would make of its text, up to there.
      EXPECT_GE(found.cached_tokens, first_turn - 1) << "turn " << turn;
      EXPECT_GE(found.cached_tokens, 9 * found.prompt_tokens / 10 - 40) << "turn " << turn;
    }
    messages.push_back({{"role", "assistant"}, {"content", found.text}});
  }
}

// An assistant's answer is found, too: it was generated in the absorbed form, and its span says so.
class LatentReuse : public ::testing::TestWithParam<int> {};

TEST_P(LatentReuse, AnEarlierAnswerIsFound) {
  const LoadedModel model = load("mla", DType::bf16);
  const PromptWriter prompts(*model.text, model.defaults.end_tokens);
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  messages.push_back({{"role", "user"}, {"content", question(GetParam(), 1)}});
  const Prompt first = prompts.chat({{"messages", messages}, {"add_generation_prompt", true}});
  // An answer of which the tokenizer makes the tokens that were generated: those are forced.
  const std::string said = question(200, 2);
  std::vector<int32_t> tokens = model.text->tokenizer.encode(said, false);
  std::vector<uint64_t> mask((static_cast<size_t>(model.transformer->spec().vocab) + 63) / 64);
  Engine engine(*model.ops, *model.transformer, model.engine_options());
  engine.submit({.prompt = first.tokens,
                 .sampling = {.temperature = 0},
                 .max_tokens = static_cast<int>(tokens.size()),
                 .allowed = [&](int, std::span<const int32_t> so_far) -> std::span<const uint64_t> {
                   std::fill(mask.begin(), mask.end(), 0);
                   const auto token = static_cast<size_t>(tokens[so_far.size()]);
                   mask[token / 64] = uint64_t{1} << (token % 64);
                   return mask;
                 }});
  std::vector<int32_t> generated;
  while (!engine.idle())
    for (const Event& event : engine.step())
      if (event.token) generated.push_back(*event.token);
  ASSERT_EQ(generated, tokens);

  messages.push_back({{"role", "assistant"}, {"content", said}});
  messages.push_back({{"role", "user"}, {"content", "And now?"}});
  const Prompt second = prompts.chat({{"messages", messages}, {"add_generation_prompt", true}});
  ASSERT_EQ(second.answers.size(), 1u);
  const int end = second.answers[0].end;
  EXPECT_GE(end - second.answers[0].begin, std::ssize(tokens) - 1);
  const AnswerOptions options{.sampling = {.temperature = 0}, .max_tokens = 8, .stops = {}};
  Engine cold(*model.ops, *model.transformer, model.engine_options());
  const Answer found = answer(engine, model, second, options, {}, kNever),
               computed = answer(cold, model, second, options, {}, kNever);
  EXPECT_GE(found.cached_tokens, end - 2);
  EXPECT_EQ(found.tokens, computed.tokens);
}

// Words of the first question: one whose rows are expanded, and one that is too short for that.
INSTANTIATE_TEST_SUITE_P(Words, LatentReuse, ::testing::Values(100, 10));

INSTANTIATE_TEST_SUITE_P(Models, Reuse,
                         ::testing::Values(std::tuple("gqa", DType::bf16), std::tuple("window", DType::bf16),
                                           std::tuple("mla", DType::bf16), std::tuple("gqa", DType::q8_0),
                                           std::tuple("mla", DType::f32)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + "_" +
                                  std::string(name(std::get<1>(info.param)));
                         });

// Many choose side by side, on several threads, from vocabularies of real size.
TEST(Reuse, ManySequencesAtOnceSayWhatEachSaysAlone) {
  const LoadedModel model = load("gqa", DType::bf16);
  EngineOptions options = model.engine_options();
  options.scheduler.max_sequences = 16;
  options.cache_tokens = 16 * 512;
  const auto request = [](int r) {
    Request request{
        .prompt = {}, .sampling = {.temperature = 0.9, .top_p = 0.95, .seed = 7}, .max_tokens = 6, .logprobs = 2};
    for (int i = 0; i < 20 + 11 * r; ++i) request.prompt.push_back((i * 31 + r) % 1000);
    return request;
  };
  struct Said {
    std::vector<int32_t> tokens;
    std::vector<float> logprobs;
    bool operator==(const Said&) const = default;
  };
  const auto run = [&](Engine& engine, std::map<RequestId, Said>& said) {
    while (!engine.idle())
      for (const Event& event : engine.step()) {
        if (event.token) said[event.request].tokens.push_back(*event.token);
        for (const TokenLogprob& p : event.logprobs) said[event.request].logprobs.push_back(p.model);
      }
  };
  Engine together(*model.ops, *model.transformer, options);
  std::map<RequestId, Said> all;
  for (int r = 0; r < 16; ++r) together.submit(request(r));
  run(together, all);
  ASSERT_EQ(all.size(), 16u);
  for (int r = 0; r < 16; r += 5) {
    Engine alone(*model.ops, *model.transformer, options);
    std::map<RequestId, Said> one;
    const RequestId id = alone.submit(request(r));
    run(alone, one);
    EXPECT_EQ(one[id].logprobs.size(), 18u);
    EXPECT_EQ(all[r + 1], one[id]);
  }
}

}  // namespace
}  // namespace cachalot::testing
