// Limits of reasoning: what follows where one is spent, and that nothing else changes.
#include "session/thinking_budget.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "ops/cpu/cpu_ops.h"
#include "session/reply.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

using Tokens = std::vector<int32_t>;
using Json = nlohmann::ordered_json;

const Tokenizer& qwen() {
  static const Tokenizer tokenizer(read_hf_vocabulary(vocabulary_folder("qwen3")));
  return tokenizer;
}

// The text that an answer becomes when the model goes on with these tokens wherever it may choose, up to so many.
std::string limited(int most, bool starts_inside, const Tokens& wanted, size_t tokens = 100,
                    const Tokenizer& tokenizer = qwen(), const ReplyFormat& format = {}) {
  ThinkingBudget budget(tokenizer, format, starts_inside, most, 1, tokenizer.size());
  Tokens said;
  auto next = wanted.begin();
  while (said.size() < tokens) {
    const auto allowed = budget.allowed(0, said);
    if (allowed.empty()) {
      if (next == wanted.end()) break;
      said.push_back(*next++);
      continue;
    }
    int bits = 0;
    for (int id = 0; id < tokenizer.size(); ++id)
      if (allowed[static_cast<size_t>(id) / 64] >> (id % 64) & 1) {
        if (++bits == 1) said.push_back(id);
      }
    EXPECT_EQ(bits, 1) << "one token may follow";
  }
  return tokenizer.decode(said);
}

TEST(ThinkingBudget, MakesTheModelSayTheEndOfItsFormat) {
  const Tokens thought = qwen().encode("One two three four");
  ASSERT_EQ(thought.size(), 4u);
  EXPECT_EQ(limited(0, true, thought), "\n</think>\n\nOne two three four");
  EXPECT_EQ(limited(1, true, thought), "One\n</think>\n\n two three four");
  EXPECT_EQ(limited(4, true, thought), "One two three four\n</think>\n\n");
  EXPECT_EQ(limited(5, true, thought), "One two three four");
  EXPECT_EQ(limited(2, true, thought, 100, qwen(), {.reasoning_end = "</think>"}), "One two</think> three four");
}

TEST(ThinkingBudget, LeavesWhatEndsByItselfAlone) {
  for (const char* text : {"One two\n</think>\n\nthree four", "One</think>", "</think>three four five"})
    EXPECT_EQ(limited(4, true, qwen().encode(text)), text);
  EXPECT_EQ(limited(3, true, qwen().encode("One two</think>")), "One two</think>") << "the tag is the third";
  EXPECT_EQ(limited(0, false, qwen().encode("No, <think> comes late")), "No, <think> comes late");
  EXPECT_EQ(limited(0, false, {}), "");
}

TEST(ThinkingBudget, CountsBehindATagThatTheModelWrites) {
  EXPECT_EQ(limited(0, false, qwen().encode("<think>\nOne</think>")), "<think>\n</think>\n\n\nOne</think>");
  EXPECT_EQ(limited(2, false, qwen().encode(" \n<think>\nOne two")), " \n<think>\nOne\n</think>\n\n two");
  // The tag in pieces, the last of which has some of what is thought.
  Tokens pieces = qwen().encode("<think>", /*special=*/false);
  ASSERT_GT(pieces.size(), 1u);
  const Tokens thought = qwen().encode("One two");
  pieces.insert(pieces.end(), thought.begin(), thought.end());
  EXPECT_EQ(limited(1, false, pieces), "<think>One\n</think>\n\n two");
  EXPECT_EQ(limited(0, false, qwen().encode("<thinking>", false)), "<thinking>") << "is no tag";
}

TEST(ThinkingBudget, SaysNothingTwice) {
  const auto spent = [](const Tokens& thought) { return limited(static_cast<int>(thought.size()), true, thought); };
  EXPECT_EQ(spent(qwen().encode("One\n")), "One\n</think>\n\n");
  EXPECT_EQ(spent(qwen().encode("One\n\n")), "One\n\n</think>\n\n");
  for (const char* begun : {"One\n<", "One\n</", "One\n</th", "One</thi", "One </think"})
    EXPECT_EQ(spent(qwen().encode(begun, /*special=*/false)),
              begun + std::string("</think>\n\n").substr(std::string(begun).size() - std::string(begun).rfind('<')));
}

TEST(ThinkingBudget, LetsACharacterEnd) {
  const Tokens character = qwen().encode("𒀀");
  ASSERT_GT(character.size(), 1u);
  EXPECT_EQ(limited(1, true, character), "𒀀\n</think>\n\n");
  const auto first = std::vector<int32_t>(8, character[0]);  // never a character
  EXPECT_THAT(limited(1, true, first), ::testing::HasSubstr("\n</think>\n\n"));
}

TEST(ThinkingBudget, IsAFunctionOfTheAnswerSoFar) {
  ThinkingBudget budget(qwen(), {}, true, 2, 2, qwen().size());
  const Tokens thought = qwen().encode("One two three"), other = qwen().encode("Five");
  const auto may = [&](int answer, size_t tokens, int32_t token) {
    const auto allowed = budget.allowed(answer, std::span(thought).first(tokens));
    return allowed.empty() || (allowed[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
  };
  const int32_t line = qwen().encode("\n")[0];
  for (int again = 0; again < 3; ++again) {
    EXPECT_TRUE(may(0, 1, 5));
    EXPECT_FALSE(may(0, 2, 5));
    EXPECT_FALSE(may(0, 2, 5)) << "asked twice";
    EXPECT_TRUE(may(0, 2, line));
    EXPECT_TRUE(may(0, 0, 5)) << "begun anew";
    EXPECT_TRUE(may(1, 1, 5)) << "another answer";
  }
}

TEST(ThinkingBudget, GoesBeforeWhatElseIsAllowed) {
  const std::vector<uint64_t> even(static_cast<size_t>(qwen().size() + 63) / 64, 0x5555555555555555);
  Request request{.prompt = {1}, .answers = 3};
  request.allowed = [&](int, std::span<const int32_t>) { return std::span<const uint64_t>(even); };
  limit_reasoning(request, 1, qwen(), {}, true, qwen().size());
  const Tokens thought = qwen().encode("One");
  EXPECT_EQ(request.allowed(2, {}).data(), even.data());
  EXPECT_NE(request.allowed(2, thought).data(), even.data());
  Tokens all = thought;
  const Tokens end = qwen().encode("\n</think>\n\n");
  all.insert(all.end(), end.begin(), end.end());
  EXPECT_EQ(request.allowed(2, all).data(), even.data());
}

// -- With a model

struct Shipped {
  LoadedModel model = LoadedModel::load(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/tiny-r1",
                                        {.progress = false, .speculation = Speculation::mtp},
                                        std::make_unique<CpuOps>(best_kernels(), 2));
  PromptWriter prompts{*model.text, model.defaults.end_tokens};
  const Tokenizer& tokenizer = model.text->tokenizer;
  Prompt prompt = prompts.chat({{"messages", Json::array({{{"role", "user"}, {"content", "What is 47 + 86?"}}})}});

  Request request(int answers) const {
    return {.prompt = prompt.tokens,
            .sampling = {.temperature = 0},
            .max_tokens = 120,
            .end_tokens = model.defaults.end_tokens,
            .answers = answers};
  }
  struct Said {
    std::vector<Tokens> answers;
    ReplyUsage usage;
  };
  Said say(const Request& request, Speculation speculation) const {
    EngineOptions options = model.engine_options();
    options.speculation = speculation;
    options.scheduler.max_sequences = std::max(1, request.answers);
    Engine engine(*model.ops, *model.transformer, options);
    Reply reply(tokenizer, prompt, {.answers = request.answers, .text = {}});
    Said said{.answers = std::vector<Tokens>(static_cast<size_t>(request.answers)), .usage = {}};
    engine.submit(request);
    while (!engine.idle())
      for (const Event& event : engine.step()) {
        EXPECT_NE(event.finished, FinishReason::error) << event.error;
        if (event.token) said.answers[static_cast<size_t>(event.answer)].push_back(*event.token);
        (void)reply.push(event);
      }
    said.usage = reply.usage();
    return said;
  }
};

const Shipped& shipped() {
  static const Shipped shipped;
  return shipped;
}

constexpr Speculation kForms[] = {Speculation::off, Speculation::mtp, Speculation::lookup};

// The answer behind a spent limit is the one that the model gives to what then stands before it, however it is asked.
TEST(ThinkingBudget, IsFollowedByTheAnswerOfTheModel) {
  const Shipped& s = shipped();
  const Tokens free = s.say(s.request(1), Speculation::off).answers[0];
  const Tokens end = s.tokenizer.encode("\n</think>\n\n"), end_of_line = s.tokenizer.encode("</think>\n\n");
  const auto close = std::find(free.begin(), free.end(), end[1]);
  const auto thought = static_cast<size_t>(close - free.begin());  // the line break before the tag included
  ASSERT_GT(thought, 20u);
  for (const size_t most :
       {size_t{0}, size_t{1}, size_t{7}, size_t{8}, thought - 1, thought, thought + 1, size_t{1000}}) {
    SCOPED_TRACE(most);
    const bool spent = most <= thought;
    Tokens before(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(std::min(most, thought)));
    const bool line_ended = !before.empty() && before.back() == end[0];
    const Tokens& closing = line_ended ? end_of_line : end;
    if (spent) before.insert(before.end(), closing.begin(), closing.end());
    Request known = s.request(1);
    known.prompt.insert(known.prompt.end(), before.begin(), before.end());
    known.max_tokens = 120 - static_cast<int>(before.size());
    Tokens want = spent ? before : free;
    if (spent) {
      const Tokens rest = s.say(known, Speculation::off).answers[0];
      want.insert(want.end(), rest.begin(), rest.end());
    }
    for (const Speculation form : kForms) {
      Request request = s.request(1);
      limit_reasoning(request, static_cast<int>(most), s.tokenizer, s.model.text->reply, true,
                      s.model.transformer->spec().vocab);
      const auto said = s.say(request, form);
      EXPECT_EQ(said.answers[0], want);
      EXPECT_EQ(std::count(said.answers[0].begin(), said.answers[0].end(), end[1]), 1) << "one tag, none in content";
      EXPECT_EQ(said.usage.completion_tokens, std::ssize(want));
      if (spent) { EXPECT_EQ(said.usage.reasoning_tokens, std::ssize(before)) << "tag and line breaks included"; }
    }
  }
}

TEST(ThinkingBudget, HoldsForEachOfSeveralAnswers) {
  const Shipped& s = shipped();
  Request request = s.request(4);
  request.sampling = {.temperature = 3, .seed = 5};
  limit_reasoning(request, 6, s.tokenizer, s.model.text->reply, true, s.model.transformer->spec().vocab);
  const auto plain = s.say(request, Speculation::off);
  const Tokens tag = s.tokenizer.encode("</think>");
  for (int i = 0; i < 4; ++i) {
    const Tokens& answer = plain.answers[static_cast<size_t>(i)];
    const auto close = std::find(answer.begin(), answer.end(), tag[0]);
    ASSERT_NE(close, answer.end());
    EXPECT_LE(close - answer.begin(), 7);
    Request alone = s.request(1);
    alone.sampling = request.sampling;
    alone.sampling.seed += static_cast<uint64_t>(i);
    limit_reasoning(alone, 6, s.tokenizer, s.model.text->reply, true, s.model.transformer->spec().vocab);
    EXPECT_EQ(s.say(alone, Speculation::lookup).answers[0], answer);
  }
  for (const Speculation form : kForms) EXPECT_EQ(s.say(request, form).answers, plain.answers);
}

// Neither a bias against the tag nor a list of tokens without it keeps the reasoning open.
TEST(ThinkingBudget, HoldsAgainstBiasesAndListsOfTokens) {
  const Shipped& s = shipped();
  const int vocab = s.model.transformer->spec().vocab;
  const Tokens end = s.tokenizer.encode("\n</think>\n\n");
  Request request = s.request(2);
  request.sampling.logit_bias = {{end[1], -100}};
  request.sampling.repeat_penalty = 1000;
  std::vector<uint64_t> others(static_cast<size_t>(vocab + 63) / 64, ~uint64_t{0});
  for (const int32_t token : end) others[static_cast<size_t>(token) / 64] &= ~(uint64_t{1} << (token % 64));
  request.allowed = [others](int, std::span<const int32_t>) { return std::span<const uint64_t>(others); };
  limit_reasoning(request, 3, s.tokenizer, s.model.text->reply, true, vocab);
  for (const Speculation form : kForms)
    for (const Tokens& answer : s.say(request, form).answers) {
      ASSERT_GT(answer.size(), 6u);
      EXPECT_EQ(Tokens(answer.begin() + 3, answer.begin() + 6), end);
      EXPECT_EQ(std::count(answer.begin(), answer.end(), end[1]), 1);
    }
}

}  // namespace
}  // namespace cachalot::testing
