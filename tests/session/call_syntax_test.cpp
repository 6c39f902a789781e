// What prompts say of calls is what answers are read by.
#include "session/call_syntax.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "text/chat/reply_parser.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

constexpr CallForm kForms[] = {CallForm::none,        CallForm::tagged_json,  CallForm::tagged_xml,
                               CallForm::deepseek_v3, CallForm::deepseek_v31, CallForm::dsml,
                               CallForm::llama_json};

const Json kTools = {{{"type", "function"},
                      {"function",
                       {{"name", "weather"},
                        {"parameters",
                         {{"type", "object"},
                          {"properties",
                           {{"city", {{"type", "string"}}},
                            {"days", {{"type", "integer"}}},
                            {"at", {{"type", "object"}}},
                            {"all", {{"type", "array"}}},
                            {"sure", {{"type", "boolean"}}},
                            {"no", {{"type", "null"}}}}}}}}}},
                     {{"type", "function"}, {"function", {{"name", "now"}}}}};

ChatCall call(const std::string& name, const Json& arguments) {
  return {.id = {}, .name = name, .arguments = arguments};
}

std::vector<std::pair<std::string, Json>> read_back(CallForm form, const std::string& text) {
  ReplyFormat format;
  format.calls = form == CallForm::none ? CallForm::tagged_json : form;
  ReplyParser parser({.format = format, .tools = std::make_shared<const Tools>(kTools)});
  ReplyParts parts = parser.push(text);
  append(parts, parser.finish());
  std::vector<std::pair<std::string, Json>> calls;
  for (const ReplyPart& part : parts) {
    EXPECT_EQ(part.kind, ReplyPart::Kind::call) << part.text;
    if (part.kind == ReplyPart::Kind::call) calls.emplace_back(part.name, Json::parse(part.text));
  }
  return calls;
}

TEST(CallSyntax, IsReadBack) {
  const Json full = {{"city", "Köln \"am\" {Rhein}\\n<b>"},
                     {"days", 3},
                     {"at", {{"lat", 50.5}, {"x", {1, nullptr}}}},
                     {"all", {"a", {{"b", 2}}}},
                     {"sure", true},
                     {"no", nullptr}};
  for (const CallForm form : kForms) {
    SCOPED_TRACE(static_cast<int>(form));
    for (const auto& calls :
         std::vector<std::vector<ChatCall>>{{call("weather", full)},
                                            {call("weather", full.dump())},
                                            {call("now", Json::object())},
                                            {call("now", "")},
                                            {call("weather", {{"days", 1}}), call("now", "{}")}}) {
      const AttributedText text = with_calls(form, {}, calls);
      std::vector<std::pair<std::string, Json>> want;
      for (const ChatCall& one : calls) want.emplace_back(one.name, arguments_object(one));
      EXPECT_EQ(read_back(form, text.text), want) << text.text;
    }
  }
}

TEST(CallSyntax, IsShownWithTheTools) {
  for (const CallForm form : kForms) {
    const AttributedText text = tools_text(form, kTools);
    EXPECT_THAT(text.text, HasSubstr(R"({"name": "now"})"));
    const ChatCall example = call("NAME", {{"PARAMETER", "VALUE"}});
    EXPECT_THAT(text.text, HasSubstr(with_calls(form, {}, {&example, 1}).text));
    const size_t shown = text.text.find("weather");
    EXPECT_TRUE(text.provenance.said(shown, shown + 7)) << "by the client";
    EXPECT_FALSE(text.provenance.said(0, 20));
  }
}

// What a model wrote that is no object stays as it was.
TEST(CallSyntax, KeepsMalformedArguments) {
  for (const CallForm form : kForms) {
    const ChatCall broken = call("weather", R"({"city": )"), list = call("weather", "[1]");
    EXPECT_THAT(with_calls(form, {}, {&broken, 1}).text, HasSubstr(R"({"city": )"));
    EXPECT_THAT(with_calls(form, {}, {&list, 1}).text, HasSubstr("[1]"));
  }
  EXPECT_EQ(arguments_object(call("f", "[1]")), "[1]");
  EXPECT_EQ(arguments_text(call("f", Json::object({{"a", {1, "ü"}}}))), R"({"a": [1, "ü"]})");
}

TEST(CallSyntax, StandsBehindTheText) {
  const ChatCall now = call("now", "{}");
  AttributedText said;
  said.say("Let me see.");
  EXPECT_EQ(with_calls(CallForm::tagged_json, said, {&now, 1}).text,
            "Let me see.\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>");
  EXPECT_EQ(
      with_calls(CallForm::deepseek_v31, said, {&now, 1}).text,
      "Let me "
      "see.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>");
}

TEST(ToolNames, AreThoseThatAModelCanWrite) {
  for (const char* name : {"f", "get_weather", "a.b-c/d:e", "天气", "mcp__server__tool"})
    EXPECT_EQ(fault_of_tool_name(name), "") << name;
  for (const std::string& name : {std::string(), std::string(65, 'x'), std::string("a b"), std::string("a\n"),
                                  std::string("\"a\""), std::string("a'b"), std::string("a>b"), std::string("<a"),
                                  std::string("a\\b"), std::string("a`b"), std::string("a\x7f")})
    EXPECT_NE(fault_of_tool_name(name), "") << name;
}

}  // namespace
}  // namespace cachalot
