// The interpreter against jinja2: tests/goldens/templates/constructs.json, made by tools/goldens/templates.py.
#include "jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"

namespace cachalot::jinja {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::string render(std::string_view source, const Json& variables = Json::object(), const Limits& limits = {}) {
  return Template(source).render(variables, limits);
}

std::string error_of(std::string_view source, const Json& variables = Json::object(), const Limits& limits = {}) {
  try {
    return "no error, but: " + render(source, variables, limits);
  } catch (const Error& error) { return error.what(); }
}

TEST(Jinja, EveryConstructRendersAsInPython) {
  std::ifstream file(CACHALOT_SOURCE_DIR "/tests/goldens/templates/constructs.json");
  const Json golden = Json::parse(file);
  ASSERT_GE(golden["cases"].size(), 1300u);
  int errors = 0;
  for (const Json& c : golden["cases"]) {
    const auto source = c["template"].get<std::string>();
    SCOPED_TRACE(source);
    if (c.contains("output")) {
      EXPECT_NO_THROW(EXPECT_EQ(render(source, golden["variables"]), c["output"].get<std::string>()));
    } else {
      ++errors;
      EXPECT_THROW(render(source, golden["variables"]), Error);
    }
  }
  EXPECT_GE(errors, 250);
}

TEST(Jinja, AnErrorNamesTheLineOfTheTemplate) {
  EXPECT_THAT(error_of("a\nb\n{{ x.y }}"), HasSubstr("in chat template, line 3: 'x' is undefined"));
  EXPECT_THAT(error_of("a\n{% if x %}\nb"), HasSubstr("line 3: Unexpected end of template"));
  EXPECT_THAT(error_of("{#\n\n#}{{ 'a }}"), HasSubstr("in chat template, line 3: unexpected char"));
  EXPECT_THAT(error_of("{% macro m() %}\n{{ 1 }}\n{% endmacro %}\n{{ m() + (1 / 0) }}"),
              HasSubstr("line 4: division"));
  EXPECT_THAT(error_of("{% macro m(x) %}\n{{ x / 0 }}\n{% endmacro %}\n{{ m(1) }}"), HasSubstr("line 2: division"));
  EXPECT_THAT(error_of("{{ 1\n+ 'a' }}"), HasSubstr("line 2: unsupported operand type(s) for +: 'int' and 'str'"));
}

TEST(Jinja, AnErrorRaisedByTheTemplateIsShownAsSuch) {
  EXPECT_EQ(error_of("\n{{ raise_exception('roles must alternate') }}"),
            "in chat template, line 2: the chat template refused the conversation: roles must alternate");
}

TEST(Jinja, WhatIsNotSupportedSaysSo) {
  EXPECT_THAT(error_of("{% for x in [] recursive %}{% endfor %}"), HasSubstr("recursive loops are not supported"));
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("the tag 'include' is not supported"));
  EXPECT_THAT(error_of("{{ 'a'.encode() }}"), HasSubstr("str.encode is not supported"));
  EXPECT_THAT(error_of("{{ 'a'|urlize }}"), HasSubstr("No filter named 'urlize'"));
  EXPECT_THAT(error_of("{{ 9223372036854775807 + 1 }}"), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of("{{ 99999999999999999999 }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ x + 1 }}", {{"x", 18446744073709551615u}}), HasSubstr("can only be printed"));
}

TEST(Jinja, IntegersReachTheirBounds) {
  EXPECT_EQ(render("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }} {{ x }}", {{"x", INT64_MIN}}),
            "9223372036854775807 -9223372036854775808 -9223372036854775808");
  for (const char* source :
       {"{{ -x }}", "{{ x|abs }}", "{{ x // -1 }}", "{{ x * -1 }}", "{{ x - 1 }}", "{{ 3 ** 99 }}",
        "{{ x|round(-1) }}", "{{ 1e30|int }}", "{{ '%d' % 1e30 }}", "{{ range(x, 5) }}"}) {
    EXPECT_THAT(error_of(source, {{"x", INT64_MIN}}), HasSubstr("in chat template, line 1")) << source;
  }
  EXPECT_EQ(render("{{ x % -1 }} {{ x|string }} {{ '%x' % x }}", {{"x", INT64_MIN}}),
            "0 -9223372036854775808 -8000000000000000");
}

// As Python prints them: tool schemas say 2**64 - 1 and more.
TEST(Jinja, IntegersBeyond64BitsArePrintedToTheLastDigit) {
  const std::string digits = "-123456789012345678901234567890";
  const Json variables = {
      {"x", {{"maximum", 18446744073709551615u}, {"minimum", Json::binary({digits.begin(), digits.end()})}}}};
  EXPECT_EQ(render("{{ x|tojson }}", variables),
            R"({"maximum": 18446744073709551615, "minimum": -123456789012345678901234567890})");
  EXPECT_EQ(render("{{ x }}", variables),
            "{'maximum': 18446744073709551615, 'minimum': -123456789012345678901234567890}");
  EXPECT_EQ(render("{{ x.maximum }} {{ x.maximum ~ '' }} {{ x.maximum is integer }} {% if x.minimum %}yes{% endif %}",
                   variables),
            "18446744073709551615 18446744073709551615 True yes");
  EXPECT_EQ(render("{{ x.maximum is number }} {{ x.maximum is none }} {{ x.maximum == none }}", variables),
            "True False False");
}

TEST(Jinja, HostileTemplatesEndInAnError) {
  const std::pair<const char*, const char*> kTemplates[] = {
      {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "too many steps"},
      {"{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
       "MiB"},
      {"{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}", "MiB"},
      {"{{ 'x' * 999999999999 }}", "MiB"},
      {"{{ [1] * 999999999999 }}", "items"},
      {"{{ range(99999999) }}", "range of more than"},
      {"{{ 'x'.center(999999999999) }}", "MiB"},
      {"{{ 'x'|indent(999999999999) }}", "MiB"},
      {"{{ '%999999999999d' % 1 }}", "MiB"},
      {"{{ '%.*f' % (999999999999, 1) }}", "MiB"},
      {"{{ '{:999999999999}'.format(1) }}", "MiB"},
      {"{{ '{:.999999999999f}'.format(1) }}", "MiB"},
      {"{{ [1]|tojson(indent=999999999999) }}", "MiB"},
      {"{{ [1]|batch(999999999999, 0)|list }}", "items"},
      {"{{ [1]|slice(999999999999)|list }}", "items"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recurses too deeply"},
      {"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}", "nested"},
      {"{% set ns = namespace(x={}) %}{% for i in range(9999) %}{% set ns.x = {1: ns.x} %}{% endfor %}", "nested"},
      {"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = ns.x|map('int') %}{% endfor %}",
       "nested"},
      {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "contains itself"},
      {"{% set ns = namespace(x=['x' * 9999999]) %}{% for i in range(999) %}{% set ns.x = ns.x + ['x' * (9999999 + "
       "i)] %}"
       "{% endfor %}",
       "the template "},
      {"{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'|replace('', 'b' * 9999999) }}", "MiB"},
      {"{{ 2 ** 9999999 }}", "beyond 64 bits"},
      {"{{ 9 ** 9 ** 9 ** 9 }}", "beyond 64 bits"},
      {"{{ '%s' % ('x' * 30000000, ) ~ 'x' * 30000000 }}", "MiB"},
      {"{{ strftime_now('%c' * 999999) }}", "too long"},
      {"{{ range(0, 4, 1)[::9223372036854775807][::9223372036854775807] }}", "beyond 64 bits"},
  };
  for (const auto& [source, message] : kTemplates) EXPECT_THAT(error_of(source), HasSubstr(message)) << source;
}

TEST(Jinja, DeepAndLongSourcesEndInAnError) {
  const auto repeat = [](std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  constexpr int kMany = 2000;
  for (const char* piece : {"(", "[", "{1:", "-", "not ", "a.b(", "a[", "a if b else ", "'x' ~ (", "a|default("}) {
    EXPECT_THAT(error_of("{{ " + repeat(piece, kMany)), HasSubstr("nested too deeply")) << piece;
  }
  for (const char* piece : {" + a", ".a", "|e", "()", "[0]", " and a", " if a", " is none and a", " ~ (1 + 1) + 1"}) {
    EXPECT_THAT(error_of("{{ a" + repeat(piece, kMany) + " }}"), HasSubstr("too complex")) << piece;
  }
  EXPECT_THAT(error_of(repeat("{% if a %}", kMany)), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(repeat("{% for a in b %}", kMany)), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(repeat("{{ 1 }}", 200000)), HasSubstr("bytes"));
  EXPECT_EQ(render("{{ a" + repeat(" ~ a", 5000) + " }}", {{"a", "x"}}), std::string(5001, 'x'));
  std::string branches;
  for (int i = 0; i < 3000; ++i) branches += "{% if a" + std::to_string(i) + " %}{% endif %}";
  EXPECT_THAT(error_of(branches), HasSubstr("too many names"));
}

TEST(Jinja, LimitsCanBeSet) {
  Limits few;
  few.steps = 100;
  EXPECT_THAT(error_of("{% for i in range(99) %}{{ i }}{% endfor %}", Json::object(), few), HasSubstr("steps"));
  Limits little;
  little.text_bytes = 10;
  EXPECT_EQ(render("0123456789", Json::object(), little), "0123456789");
  EXPECT_THAT(error_of("0123456789a", Json::object(), little), HasSubstr("a text of more than"));
}

TEST(Jinja, DeepOrInvalidVariablesAreRefused) {
  Json deep = "x";
  for (int i = 0; i < 1000; ++i) deep = Json::array({deep});
  EXPECT_THAT(error_of("{{ x }}", {{"x", deep}}), HasSubstr("nested more than"));
  EXPECT_THAT(error_of("x", {{"x", "\xff"}}), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(error_of("x", {{"\xff", 1}}), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(error_of("x", Json::array()), HasSubstr("must be a JSON object"));
  EXPECT_THAT(error_of("\xc3("), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(error_of("{{ '\\ud800' }}"), HasSubstr("no such character"));
}

TEST(Jinja, LargeDictionariesKeepOrderAndFindTheirKeys) {
  Json large = Json::object();
  for (int i = 0; i < 5000; ++i) large["key" + std::to_string(i * 7919 % 5000)] = i;
  EXPECT_EQ(render("{{ d|length }} {{ d.key4999 }} {{ d['key17'] }} {{ 'none' in d }} {{ d|first }} {{ d|last }}",
                   {{"d", large}}),
            "5000 " + std::to_string(large["key4999"].get<int>()) + " " + std::to_string(large["key17"].get<int>()) +
                " False key0 key2081");
  EXPECT_EQ(
      render("{% set d = dict(p) %}{{ d|length }}{{ d == dict(p) }}", {{"p", Json::parse("[[1,2],[3,4],[1.0,5]]")}}),
      "2True");
}

TEST(Jinja, StrftimeNowGivesTheLocalDate) {
  const auto shape = [](std::string text) {
    for (char& c : text)
      c = std::isdigit(static_cast<unsigned char>(c)) ? '0' : std::isalpha(static_cast<unsigned char>(c)) ? 'a' : c;
    return text;
  };
  EXPECT_EQ(shape(render("{{ strftime_now('%d %b %Y') }}")), "00 aaa 0000");
  EXPECT_EQ(shape(render("{{ strftime_now('%f%z%%') }}")), "000000%");
  EXPECT_EQ(render("{{ strftime_now('') }}"), "");
}

TEST(Jinja, OneTemplateServesSeveralThreads) {
  const Template shared("{% macro m(x) %}<{{ x }}>{% endmacro %}{% for x in xs %}{{ m(x) ~ 'é'[0] }}{% endfor %}");
  std::vector<std::thread> threads;
  std::vector<std::string> outputs(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) outputs[static_cast<size_t>(t)] = shared.render({{"xs", {t, i}}});
    });
  }
  for (auto& thread : threads) thread.join();
  for (int t = 0; t < 4; ++t) EXPECT_EQ(outputs[static_cast<size_t>(t)], "<" + std::to_string(t) + ">é<49>é");
}

TEST(Jinja, CyclesOfValuesAreFreed) {  // the leak sanitizer looks
  EXPECT_EQ(
      render(
          "{% set ns = namespace() %}{% set ns.a = [ns] %}{% set ns.m = ns %}{% macro m() %}{{ ns.x }}{% endmacro %}"
          "{% set ns.m2 = m %}{% for x in [1] %}{{ loop.changed(loop) }}{% set ns.l = loop %}{% endfor %}"),
      "True");
}

}  // namespace
}  // namespace cachalot::jinja
