#include "text/chat/reasoning.h"

#include <gtest/gtest.h>

namespace cachalot {
namespace {

// Splits `reply`, given in pieces that begin at the given offsets.
SplitReply split_at(const std::string& reply, bool starts_inside, size_t first_cut, size_t second_cut) {
  ReasoningSplitter splitter(starts_inside);
  SplitReply all;
  for (const auto& [begin, end] :
       {std::pair{size_t{0}, first_cut}, {first_cut, second_cut}, {second_cut, reply.size()}}) {
    const SplitReply part = splitter.push(std::string_view(reply).substr(begin, end - begin));
    all.reasoning += part.reasoning;
    all.content += part.content;
  }
  const SplitReply last = splitter.flush();
  return {all.reasoning + last.reasoning, all.content + last.content};
}

struct Case {
  const char* reply;
  bool starts_inside;
  const char* reasoning;
  const char* content;
};

const Case kCases[] = {
    {"Hello", false, "", "Hello"},
    {"", false, "", ""},
    {"  \n", false, "", "  \n"},
    {"<think>\nA.\n</think>\n\nHello", false, "A.", "Hello"},
    {"\n <think>A</think>B", false, "A", "B"},
    {"<think>\n\n</think>\n\nHello", false, "", "Hello"},
    {"<think></think>Hello\n", false, "", "Hello\n"},
    {"A.\n\nB.\n</think>\n\nC", true, "A.\n\nB.", "C"},
    {"\n\nA</think>", true, "A", ""},
    {"never closed\n</thi", true, "never closed\n</thi", ""},
    {"<think>cut off\n\n", false, "cut off\n\n", ""},
    {"a</think>b</think>c<think>d", true, "a", "b</think>c<think>d"},
    {"<thinking> is a word", false, "", "<thinking> is a word"},
    {"  <thin", false, "", "  <thin"},
    {"x <think>y</think>", false, "", "x <think>y</think>"},
    {"1 < 2 </ 3 </thin> ok</think>z", true, "1 < 2 </ 3 </thin> ok", "z"},
    {"<</think>z", true, "<", "z"},
    {"a</</think>z", true, "a</", "z"},
    {"<think>a</think>\n\n<tool_call>\n{}\n</tool_call>", false, "a", "<tool_call>\n{}\n</tool_call>"},
    {"<think>思考\n</think>你好", false, "思考", "你好"},
    {"<think>\nA</think>B", true, "A", "B"},
    {" \n<think>\n\nA</think>B", true, "A", "B"},
    {"<think>\n<think> A</think>B", true, " A", "B"},
    {"<think><think>A</think>B", false, "A", "B"},
    {"\n  A <think>B</think>C", true, "  A <think>B", "C"},
    {"<think></think>B", true, "", "B"},
    {"</think>\n\nB", true, "", "B"},
    {"\n</think>B", true, "", "B"},
    {"<thi</think>B", true, "<thi", "B"},
    {"</think>B", false, "", "</think>B"},
    {"\n<thi", true, "<thi", ""},
    {"<think>\n", true, "", ""},
    {"<think>\n  ", false, "  ", ""},
};

TEST(Reasoning, IsSplitFromContentHoweverTheReplyIsCut) {
  for (const Case& c : kCases) {
    const std::string reply = c.reply;
    for (size_t first = 0; first <= reply.size(); ++first) {
      for (size_t second = first; second <= reply.size(); ++second) {
        const SplitReply split = split_at(reply, c.starts_inside, first, second);
        ASSERT_EQ(split.reasoning, c.reasoning) << reply << " cut at " << first << " and " << second;
        ASSERT_EQ(split.content, c.content) << reply << " cut at " << first << " and " << second;
      }
    }
  }
}

TEST(Reasoning, IsGivenOutAsSoonAsItIsCertain) {
  ReasoningSplitter splitter(true);
  EXPECT_EQ(splitter.push("First, ").reasoning, "First, ");
  EXPECT_EQ(splitter.push("a\n").reasoning, "a");
  EXPECT_EQ(splitter.push("b <").reasoning, "\nb ");
  EXPECT_EQ(splitter.push("/think").reasoning, "");
  EXPECT_EQ(splitter.push("> c").content, " c");
  EXPECT_EQ(splitter.push("</think>").content, "</think>");
}

TEST(Reasoning, BeginsInsideWhenThePromptEndsWithAnOpenTag) {
  EXPECT_TRUE(prompt_opens_reasoning("<|im_start|>assistant\n<think>\n"));
  EXPECT_TRUE(prompt_opens_reasoning("<｜Assistant｜><think>"));
  EXPECT_FALSE(prompt_opens_reasoning("<|im_start|>assistant\n"));
  EXPECT_FALSE(prompt_opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(prompt_opens_reasoning(""));
  EXPECT_FALSE(prompt_opens_reasoning("\n"));
}

}  // namespace
}  // namespace cachalot
