// From events to what is told of them: which tokens, and when. The dialects' tests (tests/server/) have the rest.
#include "session/reply.h"

#include <gmock/gmock.h>

#include "formats/huggingface/tokenizer.h"
#include "formats/real_vocabularies.h"
#include "text/chat/reply_cases.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Tokenizer& qwen() {
  static const Tokenizer tokenizer(read_hf_vocabulary(vocabulary_folder("qwen3")));
  return tokenizer;
}

Event token_event(int32_t token) { return {.request = 1, .token = token, .logprobs = {}, .prompt_logprobs = {}}; }

// One answer; what each of its tokens makes known.
struct Told {
  std::vector<std::string> texts;   // of each event, reasoning in brackets
  std::vector<std::string> tokens;  // those that each event tells, joined
  std::optional<ReplyEnd> end;
  ReplyUsage usage;
};

Told told(const std::vector<int>& tokens, const Prompt& prompt, const AnswerText& how) {
  Reply reply(qwen(), prompt, {.answers = 1, .text = how});
  Told all;
  const auto hear = [&](const std::optional<ReplyNews>& news) {
    if (!news) {
      all.texts.emplace_back("-");
      all.tokens.emplace_back("-");
      return;
    }
    all.texts.push_back(testing::shown(news->parts));
    std::string joined;
    for (const ReplyToken& token : news->tokens) joined += qwen().piece(token.token);
    all.tokens.push_back(joined);
    if (news->end) all.end = news->end;
  };
  for (const int token : tokens) {
    if (!reply.ended())
      hear(reply.push(token_event(token)));
    else
      EXPECT_FALSE(reply.push(token_event(token))) << "it has ended";
  }
  Event last = token_event(0);
  last.token.reset();
  last.finished = FinishReason::length;
  if (!reply.ended()) hear(reply.push(last));
  EXPECT_TRUE(reply.ended());
  EXPECT_FALSE(reply.push(last)) << "it has ended";
  all.usage = reply.usage();
  return all;
}

const Prompt kRaw{.tokens = {1, 2, 3}, .ends = {}, .answers = {}},
    kChat{.tokens = {1, 2, 3}, .reply = ReplySyntax(), .ends = {}, .answers = {}};

TEST(Reply, TellsATokenWithTheLastOfItsText) {
  // The whale is four bytes, of three tokens; the first has the space before it, too.
  const auto tokens = qwen().encode("a 🐳 b");
  ASSERT_EQ(tokens.size(), 5u);
  const Told raw = told(tokens, kRaw, {});
  EXPECT_THAT(raw.texts, ElementsAre("a", " ", "-", "🐳", " b", ""));
  EXPECT_THAT(raw.tokens, ElementsAre("a", "", "-", " <0xF0><0x9F><0x90><0xB3>", " b", ""));
  EXPECT_EQ(raw.usage.completion_tokens, 5);
  EXPECT_EQ(raw.usage.reasoning_tokens, 0);
  // Text that may become a stop text holds its tokens back.
  const Told held = told(qwen().encode("one two three"), kRaw, {.stops = {" two four"}});
  EXPECT_THAT(held.texts, ElementsAre("one", "-", " two three", ""));
  EXPECT_THAT(held.tokens, ElementsAre("one", "-", " two three", ""));
}

TEST(Reply, TellsNoTokenThatAStopTextCutsOff) {
  const Told cut = told(qwen().encode("one two three four"), kRaw, {.stops = {"o three"}});
  EXPECT_THAT(cut.texts, ElementsAre("one", " tw", ""));
  EXPECT_THAT(cut.tokens, ElementsAre("one", "", " two"));
  ASSERT_TRUE(cut.end);
  EXPECT_EQ(cut.end->reason, FinishReason::stop);
  EXPECT_EQ(cut.end->stop_text, "o three");
  EXPECT_EQ(cut.usage.completion_tokens, 3) << "those that were made before it was found";
  const Told at_once = told(qwen().encode("one two"), kRaw, {.stops = {"one"}});
  EXPECT_THAT(at_once.tokens, ElementsAre(""));
  EXPECT_THAT(at_once.texts, ElementsAre(""));
}

TEST(Reply, TellsWhichTokensAreReasoning) {
  const auto tokens = qwen().encode("<think>\nHm.\n</think>\n\nYes<|endoftext|>!");
  const Told chat = told(tokens, kChat, {});
  std::string text, told_tokens;
  for (const auto& one : chat.texts) text += one == "-" ? "" : one;
  for (const auto& one : chat.tokens) told_tokens += one == "-" ? "" : one;
  EXPECT_EQ(text, "[H][m][.]Yes!");
  EXPECT_EQ(told_tokens, "<think>\nHm.\n</think>\n\nYes<|endoftext|>!");
  EXPECT_EQ(chat.usage.reasoning_tokens, static_cast<int>(tokens.size()) - 3);
  const Told cut = told(qwen().encode("<think>\nHm"), kChat, {});
  EXPECT_EQ(cut.usage.reasoning_tokens, cut.usage.completion_tokens);
}

TEST(Reply, LooksForNoStopTextInTheFirstTokens) {
  const Told exempt = told(qwen().encode("one two one two"), kRaw, {.stops = {"one"}, .min_tokens = 2});
  EXPECT_THAT(exempt.texts, ElementsAre("one", " two", " "));
  ASSERT_TRUE(exempt.end);
  EXPECT_EQ(exempt.end->stop_text, "one");
}

TEST(Reply, KeepsTheStopTextThatIsIncluded) {
  const Told kept = told(qwen().encode("one two three"), kRaw, {.stops = {"two"}, .include_stop = true});
  EXPECT_THAT(kept.texts, ElementsAre("one", " two"));
  EXPECT_THAT(kept.tokens, ElementsAre("one", " two"));
}

TEST(Reply, GathersThePromptsLogprobs) {
  Reply reply(qwen(), kRaw, {});
  Event event = token_event(5);
  event.token.reset();
  event.prompt_logprobs = {{}, {{2, -1, -1}}};
  event.cached_tokens = 2;
  EXPECT_FALSE(reply.push(event));
  event.prompt_logprobs = {{{3, -2, -2}}};
  reply.push(event);
  ASSERT_EQ(reply.prompt_logprobs().size(), 3u);
  EXPECT_THAT(reply.prompt_logprobs()[0], IsEmpty());
  EXPECT_EQ(reply.prompt_logprobs()[2][0].token, 3);
  EXPECT_EQ(reply.usage().cached_tokens, 2);
  EXPECT_EQ(reply.usage().prompt_tokens, 3);
}

}  // namespace
}  // namespace cachalot
