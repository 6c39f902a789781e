// DeepSeek-V3's, R1's and V3.1's calls.
#include <gtest/gtest.h>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

const ReplySyntax kV3 = syntax_of(CallForm::deepseek_v3), kV31 = syntax_of(CallForm::deepseek_v31);
const std::string kBegin = "<｜tool▁calls▁begin｜>", kEnd = "<｜tool▁calls▁end｜>";

std::string v3(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>function<｜tool▁sep｜>" + name + "\n```json\n" + arguments +
         "\n```<｜tool▁call▁end｜>";
}
std::string v31(const std::string& name, const std::string& arguments) {
  return "<｜tool▁call▁begin｜>" + name + "<｜tool▁sep｜>" + arguments + "<｜tool▁call▁end｜>";
}

TEST(DeepseekCalls, OneOrSeveralStandBetweenTheOuterTags) {
  const std::string city = R"({"city": "Oslo", "n": 1.0})";
  expect_shown(kV3, "Look." + kBegin + v3("weather", city) + kEnd, "Look.{weather " + city + "}");
  expect_shown(kV3, kBegin + v3("weather", city) + "\n" + v3("now", "{}") + kEnd + "Done",
               "{weather " + city + "}{now {}}Done");
  expect_shown(kV31, "Look.\n\n" + kBegin + v31("weather", city) + v31("now", "{}") + kEnd,
               "Look.{weather " + city + "}{now {}}");
  expect_shown(kV3, "<think>\nHm\n</think>\n\n" + kBegin + v3("now", "{}") + kEnd, "[Hm]{now {}}");
  expect_shown(kV31, kBegin + v31("other", "{}") + kEnd, "{other {}}");
}

TEST(DeepseekCalls, ValuesMayLookLikeTags) {
  const std::string arguments = R"({"a": "```\n<｜tool▁call▁end｜>", "b": "```json {", "c": "<｜tool▁calls▁end｜>"})";
  expect_shown(kV3, kBegin + v3("now", arguments) + kEnd, "{now " + arguments + "}");
  expect_shown(kV31, kBegin + v31("now", arguments) + kEnd, "{now " + arguments + "}");
}

// As models write that were distilled from R1, and as their template does.
TEST(DeepseekCalls, OuterTagsMayBeMissingOrSpeltOtherwise) {
  for (const char* begin :
       {"", "<｜tool_calls_begin｜>", "<｜tool calls begin｜>", "<｜tool\\_calls\\_begin｜>", "<｜tool▁calls｜>"})
    for (const std::string& end : {std::string(), kEnd, "\n" + kEnd})
      expect_shown(kV3, begin + v3("now", "{}") + end, "{now {}}");
  expect_shown(kV31, v31("now", "{}") + "\n" + v31("now", "{}"), "{now {}}{now {}}");
  expect_shown(kV3, kBegin + "\n" + v3("now", "{}") + v3("weather", "{}") + kEnd + kEnd, "{now {}}{weather {}}");
}

TEST(DeepseekCalls, TheEndMayCutOffWhatClosesACall) {
  const std::string head = kBegin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{\"a\": 1}",
                    head31 = kBegin + "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{\"a\": 1}";
  for (const char* end :
       {"", "\n", "\n``", "\n```", "\n```<｜tool", "\n```<｜tool▁call▁end｜>", "\n```<｜tool▁call▁end｜><｜tool▁"})
    expect_shown(kV3, head + end, "{now {\"a\": 1}}");
  for (const char* end : {"", "<", "<｜tool▁call▁end｜>"}) expect_shown(kV31, head31 + end, "{now {\"a\": 1}}");
  for (const size_t size : borders_of(head))
    if (size < head.size() && size > 0) expect_shown(kV3, head.substr(0, size), head.substr(0, size));
}

TEST(DeepseekCalls, WhatIsNoneIsText) {
  for (const std::string& text :
       {kBegin, kEnd, kBegin + kEnd, kBegin + v31("now", "{}") + kEnd, kBegin + v3("now", "[]") + kEnd,
        kBegin + v3("now", "{\"a\": }") + kEnd, kBegin + v3("", "{}"),
        kBegin + "function<｜tool▁sep｜>now\n```json\n{}\n```" + kEnd,
        "<｜tool▁call▁begin｜>" + std::string(300, 'a') + "<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜>"})
    expect_shown(kV3, text, text);
  for (const std::string& text : {kBegin + v3("now", "{}") + kEnd, kBegin + v31("a\nb", "{}") + kEnd})
    expect_shown(kV31, text, text);
  expect_shown(kV31, kBegin + v31("now", "{") + v31("now", "{}") + kEnd, kBegin + v31("now", "{") + "{now {}}");
}

}  // namespace
}  // namespace cachalot::testing
