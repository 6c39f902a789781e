// <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>
#include <gtest/gtest.h>

#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

const ReplySyntax kSyntax = syntax_of(CallForm::tagged_xml);

std::string parameter(const std::string& key, const std::string& value) {
  return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
}

std::string call(const std::string& name, const std::string& parameters) {
  return "<tool_call>\n<function=" + name + ">\n" + parameters + "</function>\n</tool_call>";
}

void expect_value(const std::string& key, const std::string& value, const std::string& json) {
  expect_shown(kSyntax, call("weather", parameter(key, value)), "{weather {\"" + key + "\": " + json + "}}");
}

void expect_text(const std::string& text) { expect_shown(kSyntax, text, text); }

TEST(TaggedXml, ValuesHaveTheDeclaredTypes) {
  expect_value("city", "Oslo", R"("Oslo")");
  expect_value("city", "3", R"("3")");
  expect_value("city", "null", R"("null")");
  expect_value("city", "{\"a\": 1}", R"("{\"a\": 1}")");
  expect_value("city", "", R"("")");
  expect_value("city", "a\n\n \"b\" \\ ø 🌧\n", R"("a\n\n \"b\" \\ ø 🌧\n")");
  expect_value("days", "3", "3");
  expect_value("days", " -12 ", "-12");
  expect_value("days", "3.0", "3.0");
  expect_value("days", "3.5", R"("3.5")");
  expect_value("days", "three", R"("three")");
  expect_value("days", "None", "null");
  expect_value("share", "0.50", "0.50");
  expect_value("share", "5", "5");
  expect_value("share", "1e-3", "1e-3");
  expect_value("share", "1e999", R"("1e999")");
  expect_value("share", "half", R"("half")");
  expect_value("sure", "true", "true");
  expect_value("sure", "False", "false");
  expect_value("sure", "perhaps", R"("perhaps")");
  expect_value("nothing", "null", "null");
  expect_value("list", "[\"a\", 1, true, null]", "[\"a\", 1, true, null]");
  expect_value("list", "[]", "[]");
  expect_value("list", "a, b", R"("a, b")");
  expect_value("object", "{\"a\": {\"b\": [1.50]}}", "{\"a\": {\"b\": [1.50]}}");
  expect_value("object", "{\"a\": \"x\ny\"}", R"({"a": "x\ny"})");
  expect_value("object", R"({'a': "it's", 'b': 'say "x"', 'c': [True, None, 'don\'t']})",
               R"({"a": "it's", "b": "say \"x\"", "c": [true, null, "don't"]})");
  expect_value("object", R"("{'a': 1}")", R"({"a": 1})");
  expect_value("object", "{'a': 1", R"("{'a': 1")");
  expect_value("object", "[1]", R"("[1]")");
  expect_value("undeclared", "5", R"("5")");
  expect_value("any", "5", R"("5")");
}

TEST(TaggedXml, OfSeveralTypesAStringCountsLast) {
  expect_value("maybe", "null", "null");
  expect_value("maybe", "None", "null");
  expect_value("maybe", "5", R"("5")");
  expect_value("number_or_text", "5", "5");
  expect_value("number_or_text", "five", R"("five")");
  expect_value("text_or_number", "5", "5");
  expect_value("text_or_number", "5 apples", R"("5 apples")");
  expect_value("text_or_list", R"(["a"])", R"(["a"])");
  expect_value("text_or_list", "a", R"("a")");
  expect_value("days_or_not", "null", "null");
  expect_value("days_or_not", "2", "2");
  expect_value("level", "2", "2");
  expect_value("one", "1", "1");
  expect_value("place", R"({"lat": 59.9})", R"({"lat": 59.9})");
  expect_value("places", "[1]", "[1]");
  expect_value("loop", "1", R"("1")");
}

TEST(TaggedXml, ValuesMayLookLikeTags) {
  for (const char* value :
       {"</parameter>x", "a </parameter> b", "</function>", "x <parameter=a> y", "</function>\n</tool_call>",
        "<tool_call>", "</tool_call>", "<function=now>", "<", "</", "<think></think>", "\n</function>\n<x>"})
    expect_shown(kSyntax, call("write", parameter("city", value) + parameter("days", "1")) + "\nB",
                 "{write {\"city\": " + nlohmann::json(value).dump() + ", \"days\": 1}}B");
  const std::string inner = call("write", parameter("city", "x") + parameter("share", "1"));
  expect_shown(kSyntax, call("write", parameter("city", inner)) + call("now", ""),
               "{write {\"city\": " + nlohmann::json(inner).dump() + "}}{now {}}");
}

// Lines that look like the next argument: with the name of none, or of one that was there.
TEST(TaggedXml, LinesOfValuesMayLookLikeArguments) {
  for (const std::string value :
       {"t = (\n</parameter>\n<parameter=new>\nx\n</parameter>\n)", "(\n<parameter=days>\nx\n</parameter>\n)",
        "(\n<parameter=new>\n</parameter>\n)", "\"<tool_call>\\n\",\n\"\\n</parameter>\\n\",\n\"</function>\\n\","})
    expect_shown(kSyntax, call("write", parameter("days", "1") + parameter("city", value)) + "\n" + call("now", ""),
                 "{write {\"days\": 1, \"city\": " + nlohmann::json(value).dump() + "}}{now {}}");
  // What is not declared is an argument where it cannot be meant otherwise.
  expect_shown(kSyntax, call("weather", parameter("days", "1") + parameter("new", "x")),
               R"({weather {"days": 1, "new": "x"}})");
}

TEST(TaggedXml, SeveralStandBesideText) {
  const std::string now = call("now", ""),
                    weather = call("weather", parameter("city", "Oslo") + parameter("days", "2"));
  expect_shown(kSyntax, now + "\n" + weather, R"({now {}}{weather {"city": "Oslo", "days": 2}})");
  expect_shown(kSyntax, "<think>\nHm.\n</think>\n\nLook.\n\n" + weather + "\n\nDone",
               R"([Hm.]Look.{weather {"city": "Oslo", "days": 2}}Done)");
  expect_shown(kSyntax, call("other", parameter("a", "1")), R"({other {"a": "1"}})");
  expect_shown(kSyntax, call("weather", parameter("days", "1") + parameter("days", "2")), R"({weather {"days": 2}})");
}

TEST(TaggedXml, TagsMayBeMissingOrDoubled) {
  const std::string weather = R"({weather {"city": "Oslo", "days": 2}})";
  const std::string city = parameter("city", "Oslo"), days = parameter("days", "2");
  expect_shown(kSyntax, "<function=weather>\n" + city + days + "</function>\n</tool_call>", weather);
  expect_shown(kSyntax, "<function=weather>\n" + city + days + "</function>", weather);
  expect_text("<function=other>\n</function>");
  expect_shown(kSyntax, "<tool_call>\n<function=weather>\n" + city + days + "</function>\nB", weather + "B");
  expect_shown(kSyntax,
               "<tool_call><function=weather><parameter=city>Oslo</parameter><parameter=days>2</parameter></"
               "function></tool_call>",
               weather);
  expect_shown(kSyntax, call("weather", city + "</parameter>\n" + days + "</parameter>\n"), weather);
  expect_shown(kSyntax, call("weather", "<parameter=city>\nOslo\n" + days), weather);
  expect_shown(kSyntax, call("weather", city + "<parameter=days>\n2\n"), weather);
  expect_shown(kSyntax, call("weather", "<parameter=city>\nOslo\n") + "\n" + call("now", ""),
               R"({weather {"city": "Oslo"}}{now {}})");
}

TEST(TaggedXml, WhatIsNoneIsText) {
  const std::string whole = call("weather", parameter("city", "Oslo") + parameter("days", "2"));
  const size_t ends = whole.find("</function>") + 2;
  for (size_t size = 1; size < whole.size(); ++size)
    expect_shown(kSyntax, whole.substr(0, size),
                 size < ends ? whole.substr(0, size) : R"({weather {"city": "Oslo", "days": 2}})");
  for (const char* text :
       {"<tool_call>\n<function=>\n</function>", "<tool_call>\n<function={{ name }}>\n</function>",
        "<tool_call>{\"name\": \"now\"}</tool_call>", "<tool_call>\n<function=now>\nx</function>",
        "<tool_call>\n<function=now>\n<parameter=a b</function>", "<parameter=a>\n1\n</parameter>"})
    expect_text(text);
  expect_shown(kSyntax, "<tool_call>\n<function=now\n" + call("now", ""), "<tool_call>\n<function=now{now {}}");
}

TEST(TaggedXml, InReasoningAValueEndsBeforeTheTagThatEndsIt) {
  const ReplySyntax inside = syntax_of(CallForm::tagged_xml, true);
  const std::string weather = call("weather", parameter("city", "Oslo"));
  expect_shown(inside, "<function=weather>\n" + parameter("city", "Oslo") + "</functio</think>n>",
               R"({weather {"city": "Oslo"}}n>)");
  expect_shown(inside, "A\n" + weather + "\nB</think>C", R"([A]{weather {"city": "Oslo"}}[B]C)");
  expect_shown(inside, "One writes <tool_call>\n<function=weather>\n<parameter=city>\n so.</think>" + weather,
               "[One writes <tool_call>\n<function=weather>\n<parameter=city>\n so.]{weather {\"city\": \"Oslo\"}}");
}

}  // namespace
}  // namespace cachalot::testing
