// Llama 3's calls, and those that Qwen2.5-Coder writes bare.
#include <gtest/gtest.h>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

const ReplySyntax kSyntax = syntax_of(CallForm::llama_json), kTagged = syntax_of(CallForm::tagged_json);
const std::string kWeather = R"({"name": "weather", "parameters": {"city": "Oslo {}"}})",
                  kWeatherShown = R"({weather {"city": "Oslo {}"}})", kNow = R"({"name": "now", "arguments": {}})";

TEST(LlamaJson, IsTheWholeAnswer) {
  expect_shown(kSyntax, kWeather, kWeatherShown);
  expect_shown(kSyntax, "\n " + kWeather + "\n", kWeatherShown);
  expect_shown(kSyntax, "<|python_tag|>" + kWeather, kWeatherShown);
  expect_shown(kSyntax, "<|python_tag|>" + std::string(R"({"type": "function", "name": "other", "parameters": {}})"),
               "{other {}}");
  expect_shown(kSyntax, "<think>\nHm\n</think>\n\n" + kWeather, "[Hm]" + kWeatherShown);
  for (const char* between : {"; ", ";", " ;\n", "\n", "", " "})
    expect_shown(kSyntax, kWeather + between + kNow + between + kWeather, kWeatherShown + "{now {}}" + kWeatherShown);
  expect_shown(kSyntax, "Look. <|python_tag|>" + kNow + "; " + kWeather, "Look.{now {}}" + kWeatherShown);
  expect_shown(kSyntax, kNow + " I used {now} for this.", "{now {}}I used {now} for this.");
}

TEST(LlamaJson, ALastBraceMayBeForgotten) {
  expect_shown(kSyntax, R"({"name": "now", "parameters": {})", "{now {}}");
  expect_shown(kSyntax, R"({"name": "now", "parameters": {} and more)",
               R"({"name": "now", "parameters": {} and more)");
}

TEST(LlamaJson, WhatIsNoneIsText) {
  for (const std::string& text :
       {std::string("{"), "Here: " + kWeather, std::string(R"({"parameters": {}})"),
        std::string(R"({"name": "now"})"), std::string(R"({"name": "other", "parameters": {}})"),
        std::string(R"({"name": "now", "parameters": {invalid}})"), std::string(R"({"name": "now", "parameters": {)"),
        std::string("<|python_tag|>import os"), std::string("{} {}"),
        std::string(R"({"name": "now", "parameters": []})"), std::string("<|python_tag|>")})
    expect_shown(kSyntax, text, text);
}

TEST(TaggedJson, MayStandBareInAFenceOrBetweenOtherTags) {
  for (const std::string& text : {kWeather, "```json\n" + kWeather + "\n```", "<tools>\n" + kWeather + "\n</tools>",
                                  "```json" + kWeather + "```", "```json\n" + kWeather})
    expect_shown(kTagged, text, kWeatherShown);
  expect_shown(kTagged, "<tools>[" + kWeather + ", " + kNow + "]</tools>\nB", kWeatherShown + "{now {}}B");
  expect_shown(kTagged, "```json\n" + kWeather + "\n" + kNow + "\n```\nB", kWeatherShown + "{now {}}B");
  expect_shown(kTagged, "A\n<tools>" + kNow + "</tools>", "A{now {}}");
  for (const std::string& text :
       {std::string("```json\n{\"name\": \"other\", \"arguments\": {}}\n```"), "A\n```json\n" + kWeather + "\n```",
        std::string("```python\nprint()\n```"), std::string("``"), std::string("<tools>{\"name\": \"now\"}</tools>"),
        "```json\n" + kWeather + ","})
    expect_shown(kTagged, text, text);
}

// Text that begins as a call might is told as soon as it is known to be none.
TEST(TaggedJson, OtherJsonDoesNotWait) {
  for (const std::string& begin : {std::string("```json\n{\n  \"version\":"), std::string("{\"name\": \"my-app\","),
                                   std::string("{\"id\": 1, \"x\":"), std::string("```json\n{\"name\": 5,")}) {
    ReplyParser parser(kTagged);
    EXPECT_EQ(text_of(parser.push(begin), ReplyPart::Kind::content), begin);
  }
  ReplyParser parser(kTagged);
  EXPECT_TRUE(parser.push(R"({"name": "weather", "arg)").empty());
}

}  // namespace
}  // namespace cachalot::testing
