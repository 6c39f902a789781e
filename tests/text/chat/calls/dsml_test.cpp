// DeepSeek-V3.2's calls, as encoding_dsv32.py of its checkpoint writes and reads them.
#include <gtest/gtest.h>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

const ReplySyntax kSyntax = syntax_of(CallForm::dsml);

std::string parameter(const std::string& key, const std::string& value, bool is_string) {
  return "<｜DSML｜parameter name=\"" + key + "\" string=\"" + (is_string ? "true" : "false") + "\">" + value +
         "</｜DSML｜parameter>\n";
}
std::string invoke(const std::string& name, const std::string& parameters) {
  return "<｜DSML｜invoke name=\"" + name + "\">\n" + parameters + "</｜DSML｜invoke>\n";
}
std::string calls(const std::string& invokes, const std::string& tag = "function_calls") {
  return "\n\n<｜DSML｜" + tag + ">\n" + invokes + "</｜DSML｜" + tag + ">";
}

TEST(Dsml, SaysItselfWhatIsAString) {
  expect_shown(kSyntax,
               "Look." + calls(invoke("weather", parameter("city", "Oslo", true) + parameter("days", "3", false))),
               R"(Look.{weather {"city": "Oslo", "days": 3}})");
  expect_shown(kSyntax,
               calls(invoke("other", parameter("a", "3", true) + parameter("b", " {\"x\": [1.50, null]} ", false))),
               R"({other {"a": "3", "b": {"x": [1.50, null]}}})");
  expect_shown(kSyntax, calls(invoke("now", parameter("a", "\n\"x\"\n", true) + parameter("b", "true", false))),
               R"({now {"a": "\n\"x\"\n", "b": true}})");
  expect_shown(kSyntax, calls(invoke("now", parameter("a", "not JSON", false))), R"({now {"a": "not JSON"}})");
  expect_shown(kSyntax, calls(invoke("now", parameter("a", std::string("1\0x", 3), false))),
               R"({now {"a": "1\u0000x"}})");
  expect_shown(kSyntax, calls(invoke("now", parameter("a", std::string("\"a\0\"", 4), false))),
               R"({now {"a": "a\u0000"}})");
  expect_shown(kSyntax, calls(invoke("weather", "<｜DSML｜parameter name=\"days\">3</｜DSML｜parameter>\n")),
               R"({weather {"days": 3}})");
}

TEST(Dsml, SeveralStandBesideText) {
  expect_shown(kSyntax, "A" + calls(invoke("now", "") + invoke("weather", parameter("city", "Oslo", true))) + "\nB",
               R"(A{now {}}{weather {"city": "Oslo"}}B)");
  expect_shown(kSyntax, calls(invoke("now", ""), "tool_calls"), "{now {}}");
  expect_shown(syntax_of(CallForm::dsml, true), "Hm.</think>" + calls(invoke("now", "")), "[Hm.]{now {}}");
  expect_shown(syntax_of(CallForm::dsml, true), "Hm." + calls(invoke("now", "")), "[Hm.]{now {}}");
}

TEST(Dsml, ValuesMayLookLikeTags) {
  for (const char* value :
       {"</｜DSML｜parameter>x", "<｜DSML｜invoke name=\"a\">", "</｜DSML｜invoke>", "<｜DSML｜", "<"})
    expect_shown(kSyntax, calls(invoke("write", parameter("city", value, true) + parameter("days", "1", false))),
                 "{write {\"city\": " + nlohmann::json(value).dump() + ", \"days\": 1}}");
}

TEST(Dsml, WhatIsNoneIsText) {
  const std::string whole = "A" + calls(invoke("weather", parameter("city", "Oslo", true)));
  const size_t ends = whole.find("</｜DSML｜invoke>") + 2;
  for (const size_t size : borders_of(whole))
    expect_shown(kSyntax, whole.substr(0, size),
                 size < ends ? whole.substr(0, size) : R"(A{weather {"city": "Oslo"}})");
  for (const std::string& text :
       {calls(""), calls("<｜DSML｜invoke>\n</｜DSML｜invoke>"), calls(invoke("", "")),
        calls(invoke("now", "<｜DSML｜parameter name=\"a\" string=\"maybe\">1</｜DSML｜parameter>\n"))})
    expect_shown(kSyntax, text, text);
}

}  // namespace
}  // namespace cachalot::testing
