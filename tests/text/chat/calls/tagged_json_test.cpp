// <tool_call>{"name": …, "arguments": {…}}</tool_call>
#include <gtest/gtest.h>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

const ReplySyntax kSyntax = syntax_of(CallForm::tagged_json);

void expect_call(const std::string& json, const std::string& want) {
  expect_shown(kSyntax, "<tool_call>\n" + json + "\n</tool_call>", "{" + want + "}");
}

void expect_text(const std::string& text) { expect_shown(kSyntax, text, text); }

TEST(TaggedJson, ArgumentsAreTheModelsOwnText) {
  expect_call(R"({"name": "weather", "arguments": {"city": "Oslo", "days": 3}})",
              R"(weather {"city": "Oslo", "days": 3})");
  expect_call(R"({"arguments":{"b":1,"a":[1.50,1e3,-0,true,null,{"x":{}}]},"name":"weather"})",
              R"(weather {"b":1,"a":[1.50,1e3,-0,true,null,{"x":{}}]})");
  expect_call(R"({"name": "weather", "arguments": {"city": "Tromsø 🌧 \u00f8 \"</tool_call>\" <tool_call> \\"}})",
              R"(weather {"city": "Tromsø 🌧 \u00f8 \"</tool_call>\" <tool_call> \\"})");
  expect_call(R"({"name": "unknown", "arguments": {}})", "unknown {}");
  expect_call(R"({"id": 1, "name": "we\u0061ther", "arguments": {}, "type": "function"})", "weather {}");
}

TEST(TaggedJson, ALastBraceMayBeForgotten) {
  expect_call(R"({"name": "weather", "arguments": {"city": "Oslo"})", R"(weather {"city": "Oslo"})");
  expect_call(R"({"arguments": {"city": "Oslo"} , "name": "weather")", R"(weather {"city": "Oslo"})");
  const std::string cut = R"(<tool_call>{"name": "weather", "arguments": {"city": "Oslo"})";
  expect_shown(kSyntax, cut, R"({weather {"city": "Oslo"}})");
  expect_text(R"(<tool_call>{"name": "weather", "arguments": {"city": "Oslo")");
  expect_text(R"(<tool_call>{"name": "weather")");  // its arguments may have been about to come
  expect_text(R"(<tool_call>{"name": "weather"</tool_call>)");
  expect_text(R"(<tool_call>{"name": "weather", "arguments": {"city": "Oslo"} and more</tool_call>)");
}

TEST(TaggedJson, ArgumentsMayBeWrittenOtherwise) {
  expect_call(R"({"name": "now"})", "now {}");
  expect_call(R"({"name": "now", "arguments": null})", "now {}");
  expect_call(R"({"name": "now", "arguments": ""})", "now {}");
  expect_call(R"({"name": "weather", "parameters": {"days": 1}})", R"(weather {"days": 1})");
  expect_call(R"({"name": "weather", "arguments": "{\"city\": \"a \\\"b\\\"\"}"})", R"(weather {"city": "a \"b\""})");
  expect_call("{\"name\": \"write\", \"arguments\": {\"city\": \"a\n\tb\r\x01\"}}",
              R"(write {"city": "a\n\tb\r\u0001"})");
}

TEST(TaggedJson, SeveralStandBesideText) {
  const std::string one = R"(<tool_call>{"name": "weather", "arguments": {}}</tool_call>)", two = R"(<tool_call>
{"name": "now"}
</tool_call>)";
  expect_shown(kSyntax, one + "\n" + two, "{weather {}}{now {}}");
  expect_shown(kSyntax, one + two + one, "{weather {}}{now {}}{weather {}}");
  expect_shown(kSyntax, "Look. \n\n" + one + "\n And \n" + two + "\n\nDone.\n",
               "Look.{weather {}}And{now {}}Done.\n");
  expect_shown(kSyntax, "<think>\nA\n</think>\n\n" + one, "[A]{weather {}}");
  expect_shown(kSyntax, R"(<tool_call>[{"name": "weather"}, {"name": "now"}]</tool_call>)", "{weather {}}{now {}}");
}

TEST(TaggedJson, WhatIsNoneIsText) {
  for (const char* text : {"<tool_call>",
                           "<tool_call>\n",
                           "<tool_call></tool_call>",
                           "<tool_call>none</tool_call>",
                           "a < b <tool",
                           R"(<tool_call>{"arguments": {}}</tool_call>)",
                           R"(<tool_call>{"name": ""}</tool_call>)",
                           R"(<tool_call>{"name": 5}</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": []}</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": "Oslo"}</tool_call>)",
                           R"(<tool_call>{"name": "now"},</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": {a: 1}}</tool_call>)",
                           R"(<tool_call>{'name': 'now'}</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": {"a": 01}}</tool_call>)",
                           R"(<tool_call>{"name": "now"}}</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": {"a": 1,}}</tool_call>)",
                           R"(<tool_call>[]</tool_call>)",
                           R"(<tool_call>{"name": "now", "arguments": {"a": "\ud800"}}</tool_call>)",
                           R"(<tool_call>[{"name": "now"}, 1])",
                           R"(<tool_call>{"name": "now"} and more)",
                           R"(</tool_call>)",
                           R"(<tool_call>"now"</tool_call>)"})
    expect_text(text);
  const std::string deep = std::string(100, '['), shut = std::string(100, ']');
  expect_text(R"(<tool_call>{"name": "now", "arguments": {"a": )" + deep + shut + "}}</tool_call>");
}

TEST(TaggedJson, GoodOnesBehindItAreFound) {
  expect_shown(kSyntax, R"(<tool_call>{"name": <tool_call>{"name": "now"}</tool_call>)",
               R"(<tool_call>{"name":{now {}})");
  expect_shown(kSyntax, R"(<tool_call> <tool_call>{"name": "now"}</tool_call>)", "<tool_call>{now {}}");
  expect_shown(kSyntax, R"(<tool_call>{"name": "a</tool_call>
<tool_call>{"name": "now"}</tool_call>)",
               R"(<tool_call>{"name": "a</tool_call>{now {}})");
}

TEST(TaggedJson, TheEndMayCutOffTheClosingTag) {
  const std::string call = R"(<tool_call>
{"name": "weather", "arguments": {"city": "Oslo"}})";
  for (const char* end : {"", "\n", "\n<", "\n</tool_", "</tool_call", "</tool_call>"})
    expect_shown(kSyntax, call + end, R"({weather {"city": "Oslo"}})");
  for (size_t size = 1; size < call.size() - 1; ++size)
    expect_text(call.substr(0, size));  // see the last brace above
}

TEST(TaggedJson, TagsMayBeMissingOrDoubled) {
  const std::string call = R"(<tool_call>{"name": "now"})";
  expect_shown(kSyntax, call + "\n" + call + "</tool_call>", "{now {}}{now {}}");
  expect_shown(kSyntax, call + "</tool_call>\n</tool_call>\nA", "{now {}}A");
}

}  // namespace
}  // namespace cachalot::testing
