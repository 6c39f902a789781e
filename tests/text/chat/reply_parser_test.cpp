// Reasoning and content, and calls as all forms have them. The forms' own tests are in calls/.
#include "text/chat/reply_parser.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

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

ReplyParts parts_of(const Case& c) {
  ReplyParts parts;
  if (*c.reasoning) parts.push_back({.kind = ReplyPart::Kind::reasoning, .text = c.reasoning, .name = {}});
  if (*c.content) parts.push_back({.kind = ReplyPart::Kind::content, .text = c.content, .name = {}});
  return parts;
}

TEST(ReplyParser, SplitsReasoningFromContentHoweverTheReplyIsCut) {
  for (const Case& c : kCases)
    for (const CallForm form : {CallForm::none, CallForm::tagged_json, CallForm::dsml, CallForm::llama_json})
      expect_however_cut(syntax_of(form, c.starts_inside), c.reply, parts_of(c));
}

TEST(ReplyParser, TellsAsSoonAsItIsCertain) {
  ReplyParser parser({.format = {}, .starts_inside = true, .tools = {}});
  EXPECT_EQ(shown(parser.push("First, ")), "[First, ]");
  EXPECT_EQ(shown(parser.push("a\n")), "[a]");
  EXPECT_EQ(shown(parser.push("b <")), "[\nb ]");
  EXPECT_EQ(shown(parser.push("/think")), "");
  EXPECT_TRUE(parser.in_reasoning());
  EXPECT_FALSE(parser.content_begin());
  EXPECT_EQ(shown(parser.push("> c")), " c");
  EXPECT_TRUE(parser.in_content());
  EXPECT_EQ(parser.content_begin(), 19u);
  EXPECT_EQ(shown(parser.push("</think>\n")), "</think>\n");
  EXPECT_EQ(parser.held_bytes(), 0u);
}

TEST(ReplyParser, TellsACallWhenItIsWhole) {
  ReplyParser parser(syntax_of(CallForm::tagged_json));
  EXPECT_EQ(shown(parser.push("I look. ")), "I look.");
  EXPECT_EQ(parser.held_bytes(), 1u);
  EXPECT_EQ(shown(parser.push("<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call")), "");
  EXPECT_EQ(shown(parser.push(">")), "{weather {}}");
  EXPECT_EQ(parser.held_bytes(), 0u);
  EXPECT_EQ(shown(parser.push("\n")), "");
  EXPECT_EQ(parser.held_bytes(), 0u) << "it is dropped";
  EXPECT_EQ(shown(parser.push("So")), "So");
}

TEST(ReplyParser, ToldTextIsNoCallWithoutTools) {
  const std::string text = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {}}\n</tool_call>\n";
  ReplySyntax syntax = syntax_of(CallForm::tagged_json);
  syntax.tools = nullptr;
  expect_shown(syntax, text, text);
  expect_shown(syntax_of(CallForm::none), text, text);
  EXPECT_EQ(syntax.tags().size(), 2u);
  EXPECT_GT(syntax_of(CallForm::tagged_json).tags().size(), 2u);
}

TEST(ReplyParser, EndsBehindTheFirstCallWhereThatIsAskedFor) {
  ReplySyntax syntax = syntax_of(CallForm::tagged_json);
  syntax.one_call = true;
  const std::string call = R"(<tool_call>{"name": "weather", "arguments": {}}</tool_call>)";
  expect_shown(syntax, "A " + call + "\n" + call + "B", "A{weather {}}");
  expect_shown(syntax, "A", "A");
  expect_shown(syntax, R"(<tool_call>[{"name": "weather"}, {"name": "now"}]</tool_call>)", "{weather {}}");
  ReplyParser parser(syntax);
  parser.push(call + " B");
  EXPECT_TRUE(parser.ended());
  EXPECT_EQ(parser.held_bytes(), 2u) << "what stands behind the call";
}

// A model that was interrupted may say once more that its reasoning has ended.
TEST(ReplyParser, DropsClosingTagsBehindLimitedReasoning) {
  ReplySyntax syntax = syntax_of(CallForm::tagged_json, /*starts_inside=*/true);
  const std::string text =
      "Hm\n</think>\n\n2*3=6\n</think>\n\n6</thin </think><tool_call>{\"name\": \"now\"}</tool_call>";
  expect_shown(syntax, text, "[Hm]2*3=6\n</think>\n\n6</thin </think>{now {}}");
  syntax.limited = true;
  expect_shown(syntax, text, "[Hm]2*3=6\n\n\n6</thin {now {}}");
  syntax.tools = nullptr;
  expect_shown(syntax, "</think>A</think></thi", "A</thi");
}

TEST(ReplyParser, FindsCallsInReasoning) {
  const ReplySyntax inside = syntax_of(CallForm::tagged_json, /*starts_inside=*/true);
  const std::string weather = R"(<tool_call>
{"name": "weather", "arguments": {"city": "Oslo"}}
</tool_call>)";
  expect_shown(inside, "I look.\n" + weather + "\nHm.\n</think>\n\nYes",
               R"([I look.]{weather {"city": "Oslo"}}[Hm.]Yes)");
  expect_shown(inside, weather, R"({weather {"city": "Oslo"}})");
  expect_shown(inside, "A <tool_call> has a name.</think>" + weather,
               R"([A <tool_call> has a name.]{weather {"city": "Oslo"}})");
  expect_shown(inside, R"(As <tool_call>{"name": "f"}</tool_call> says.</think>B)",
               R"([As <tool_call>{"name": "f"}</tool_call> says.]B)");
  expect_shown(inside, R"(<tool_call>{"name": "weather", "arguments": {"city": "</think>"}}</tool_call></think>B)",
               R"({weather {"city": "</think>"}}B)");
}

TEST(ReplyParser, ReadsHostileTextsInLinearTime) {
  const size_t n = 1 << 16;
  for (const CallForm form :
       {CallForm::tagged_json, CallForm::tagged_xml, CallForm::deepseek_v3, CallForm::dsml, CallForm::llama_json}) {
    for (const char* unit : {"<tool_call>", "<tool_call>{\"", "<tool_call>{\"a\":\"", "<tool_call>[", " ", "\n", "<",
                             "</parameter>\n", "<tool_call>\n<function=now>\n<parameter=a>\n",
                             "<function=now>\n<parameter=a>\n</parameter>", "{\"name\":", "<｜tool▁call▁begin｜>",
                             "<｜DSML｜invoke name=\"a\"><｜DSML｜parameter name=\"", "\t<tool_call> "}) {
      std::string text;
      while (text.size() < n) text += unit;
      for (const bool inside : {false, true}) {
        ReplyParser parser(syntax_of(form, inside));
        ReplyParts parts;
        for (size_t at = 0; at < text.size(); at += 3) append(parts, parser.push(text.substr(at, 3)));
        append(parts, parser.finish());
        const bool calls = std::any_of(parts.begin(), parts.end(),
                                       [](const ReplyPart& part) { return part.kind == ReplyPart::Kind::call; });
        const size_t told =
            text_of(parts, ReplyPart::Kind::reasoning).size() + text_of(parts, ReplyPart::Kind::content).size();
        EXPECT_TRUE(calls || told == text.size() || (inside && text[0] == '\n')) << unit << " is lost";
      }
    }
  }
}

TEST(ReplyParser, KnowsPromptsThatOpenReasoning) {
  const auto opens = [](std::string_view prompt) { return prompt_opens_reasoning(prompt, ReplyFormat()); };
  EXPECT_TRUE(opens("<|im_start|>assistant\n<think>\n"));
  EXPECT_TRUE(opens("<｜Assistant｜><think>"));
  EXPECT_FALSE(opens("<|im_start|>assistant\n"));
  EXPECT_FALSE(opens("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(opens(""));
  EXPECT_FALSE(opens("\n"));
}

}  // namespace
}  // namespace cachalot::testing
