// Why less of a prompt was found in the cache than might have been.
#include "server/prompt_history.h"

#include <gtest/gtest.h>

#include <numeric>

namespace cachalot {
namespace {

using Why = PrefixFinding::Why;

std::vector<int32_t> tokens(int count, int first = 0) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}
std::vector<int32_t> after(std::vector<int32_t> beginning, int count, int first) {
  const auto more = tokens(count, first);
  beginning.insert(beginning.end(), more.begin(), more.end());
  return beginning;
}

Request request(std::vector<int32_t> prompt, const std::string& caller = "") {
  return {.prompt = std::move(prompt), .end_tokens = {}, .caller = caller};
}

// What is said of a prompt after these were computed, none of whose blocks were evicted.
PrefixFinding after_others(const std::vector<std::vector<int32_t>>& others, const Request& asked, int cached,
                           int64_t evictions = 0, int together = 1) {
  PromptHistory history;
  for (const auto& prompt : others) {
    const auto other = history.ask(request(prompt));
    PromptHistory::begun(other, {});
    PromptHistory::computed(other);
    PromptHistory::ended(other, 0);
  }
  return PromptHistory::begun(history.ask(asked), {cached, evictions, together});
}

}  // namespace

TEST(PromptHistory, SaysWhyLessWasFound) {
  const auto text = tokens(300);
  EXPECT_EQ(after_others({}, request(text), 0).why, Why::fresh);
  EXPECT_EQ(after_others({tokens(300, 1000)}, request(text), 0).why, Why::fresh);
  EXPECT_EQ(after_others({text}, request(text), 299).why, Why::all);
  EXPECT_EQ(after_others({text}, request(tokens(257)), 256).why, Why::all);
  EXPECT_EQ(after_others({text}, request(tokens(1)), 0).why, Why::short_) << "its last row is always computed";
  EXPECT_EQ(after_others({tokens(63)}, request(text), 63).why, Why::differs);

  const PrefixFinding differs =
      after_others({tokens(100), tokens(20, 500), tokens(80)}, request(after(tokens(100), 200, 900)), 100);
  EXPECT_EQ(differs.why, Why::differs);
  EXPECT_EQ(differs.common_tokens, 100);
  EXPECT_EQ(differs.prompt_tokens, 300);

  EXPECT_EQ(after_others({text}, request(text), 64, 1).why, Why::evicted);
  EXPECT_EQ(after_others({text}, request(text), 64, 0).why, Why::other_rows);
  Request asks = request(text);
  asks.prompt_logprobs = 0;
  EXPECT_EQ(after_others({text}, asks, 0).why, Why::asked);
  asks.prompt_logprobs = -1;
  asks.computed_from = 100;
  EXPECT_EQ(after_others({text}, asks, 100).why, Why::asked);
}

TEST(PromptHistory, KnowsThatRowsMayBeFoundByBlocksAlone) {
  const auto text = tokens(300);
  EXPECT_EQ(after_others({text}, request(text), 256, 0, 64).why, Why::all);
  EXPECT_EQ(after_others({tokens(63)}, request(text), 0, 0, 64).why, Why::short_);
  EXPECT_EQ(after_others({tokens(100)}, request(text), 64, 0, 64).why, Why::differs);
}

TEST(PromptHistory, KnowsWhatHasNotBeenComputedYet) {
  PromptHistory history;
  const auto first = history.ask(request(tokens(300)));
  const auto second = history.ask(request(tokens(300)));
  EXPECT_EQ(PromptHistory::begun(second, {.tokens = 128}).why, Why::unfinished);
}

TEST(PromptHistory, KnowsAnswersToo) {
  PromptHistory history;
  const auto first = history.ask(request(tokens(100)));
  PromptHistory::begun(first, {});
  PromptHistory::computed(first);
  for (int t = 100; t < 200; ++t) history.add(first, t);
  const Request goes_on = request(after(tokens(200), 100, 900));
  EXPECT_EQ(PromptHistory::begun(PromptHistory(history).ask(goes_on), {.tokens = 192}).why, Why::unfinished);
  PromptHistory::ended(first, 5);
  const auto next = history.ask(goes_on);
  EXPECT_EQ(next.common, 200);
  EXPECT_EQ(PromptHistory::begun(next, {199, 5}).why, Why::differs);
  EXPECT_EQ(PromptHistory::begun(next, {64, 5}).why, Why::other_rows) << "held until its end, so not evicted";
  EXPECT_EQ(PromptHistory::begun(next, {64, 6}).why, Why::evicted);
}

TEST(PromptHistory, NeverTellsOneCallerOfAnother) {
  PromptHistory history;
  history.ask(request(tokens(100), "a"));
  EXPECT_EQ(history.ask(request(tokens(100), "b")).common, 0);
  Request salted = request(tokens(100), "a");
  salted.salt = "s";
  EXPECT_EQ(history.ask(salted).common, 0);
  EXPECT_EQ(history.ask(request(tokens(100), "a")).common, 100);
}

TEST(PromptHistory, RemembersNoMoreThanItsLimits) {
  PromptHistory history({.prompts_of_one = 3, .tokens = 1000, .prompts = 6});
  for (int i = 0; i < 10; ++i) history.ask(request(tokens(10, 100 * i)));
  EXPECT_EQ(history.prompts(), 3u);
  EXPECT_EQ(history.tokens(), 30);
  EXPECT_EQ(history.ask(request(tokens(10, 600))).common, 0) << "the oldest is forgotten";
  EXPECT_EQ(history.ask(request(tokens(10, 900))).common, 10);
  for (int i = 0; i < 10; ++i) history.ask(request(tokens(10, 100 * i), std::to_string(i)));
  EXPECT_EQ(history.prompts(), 6u);
  const auto large = history.ask(request(tokens(900), "x"));
  EXPECT_LE(history.tokens(), 1000);
  for (int t = 0; t < 500; ++t) history.add(large, t);
  EXPECT_LE(history.tokens(), 1000);
  history.ask(request(tokens(5000), "y"));
  EXPECT_LE(history.tokens(), 1000);
  EXPECT_EQ(history.ask(request(tokens(900), "x")).common, 0);
}

TEST(PrefixFinding, IsASentence) {
  EXPECT_EQ(sentence({.why = Why::differs, .prompt_tokens = 300, .cached_tokens = 64, .common_tokens = 100}),
            "64 of 300 prompt tokens were cached: it leaves what was asked of late after 100 tokens");
  for (const Why why :
       {Why::all, Why::fresh, Why::short_, Why::unfinished, Why::evicted, Why::other_rows, Why::asked})
    EXPECT_GT(sentence({.why = why}).size(), 40u);
}

}  // namespace cachalot
