#include "formats/config.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/json_text.h"
#include "formats/made_files.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config config(const std::string& text) { return Config(parse_json(text, "config.json"), "config.json"); }

const char* const kConfig = R"({
  "layers": 28, "rows": 32768.0, "theta": 1000000.0, "tie": true, "type": "qwen2", "nothing": null,
  "classes": ["A", "B"], "eos": [1, 2], "bos": 7, "factors": [1, 2.5], "scaling": {"factor": 4},
  "deep": 99999999999, "minus": -3, "half": 0.5, "huge": 1e300})";

TEST(HfConfig, GivesValuesByType) {
  const Config c = config(kConfig);
  EXPECT_EQ(c.integer("layers"), 28);
  EXPECT_EQ(c.integer("rows"), 32768) << "a float that is a whole number is one";
  EXPECT_EQ(c.integer("minus", -10), -3);
  EXPECT_EQ(c.number("theta"), 1e6);
  EXPECT_EQ(c.number("layers"), 28.0);
  EXPECT_TRUE(c.boolean_or("tie", false));
  EXPECT_EQ(c.text("type"), "qwen2");
  EXPECT_THAT(c.texts("classes"), ElementsAre("A", "B"));
  EXPECT_THAT(c.integers("eos"), ElementsAre(1, 2));
  EXPECT_THAT(c.integers("bos"), ElementsAre(7));
  EXPECT_THAT(c.numbers("factors"), ElementsAre(1.0, 2.5));
  EXPECT_EQ(c.object("scaling")->number("factor"), 4.0);
}

TEST(HfConfig, ANullKeyCountsAsAbsent) {
  const Config c = config(kConfig);
  for (const auto* key : {"nothing", "unheard of"}) {
    EXPECT_FALSE(c.has(key));
    EXPECT_EQ(c.integer_or(key, 3), 3);
    EXPECT_EQ(c.number_or(key, 0.5), 0.5);
    EXPECT_TRUE(c.boolean_or(key, true));
    EXPECT_EQ(c.text_or(key, "x"), "x");
    EXPECT_THAT(c.texts(key), IsEmpty());
    EXPECT_THAT(c.integers(key), IsEmpty());
    EXPECT_THAT(c.numbers(key), IsEmpty());
    EXPECT_EQ(c.object(key), std::nullopt);
    EXPECT_THAT(message_of([&] { c.integer(key); }), HasSubstr(std::string("the key '") + key + "' is missing"));
  }
}

TEST(HfConfig, AWrongValueSaysWhatIsThereAndWhatIsExpected) {
  const Config c = config(kConfig);
  EXPECT_STREQ(message_of([&] { c.integer("type"); }).c_str(),
               "in config.json: type = \"qwen2\"\n  because: a whole number from 0 to 1073741824 is expected");
  EXPECT_THAT(message_of([&] { c.integer("half"); }), HasSubstr("half = 0.5"));
  EXPECT_THAT(message_of([&] { c.integer("deep"); }), HasSubstr("deep = 99999999999"));
  EXPECT_THAT(message_of([&] { c.integer("huge"); }), HasSubstr("huge = 1e+300"));
  EXPECT_THAT(message_of([&] { c.integer("minus"); }), HasSubstr("minus = -3"));
  EXPECT_THAT(message_of([&] { c.integer("layers", 0, 27); }), HasSubstr("from 0 to 27"));
  EXPECT_THAT(message_of([&] { c.integer("tie"); }), HasSubstr("tie = true"));
  EXPECT_THAT(message_of([&] { c.number("tie"); }), HasSubstr("a finite number is expected"));
  EXPECT_THAT(message_of([&] { c.boolean_or("layers", true); }), HasSubstr("true or false is expected"));
  EXPECT_THAT(message_of([&] { c.text("eos"); }), HasSubstr("eos = a list"));
  EXPECT_THAT(message_of([&] { c.texts("eos"); }), HasSubstr("eos[0] = 1"));
  EXPECT_THAT(message_of([&] { c.texts("type"); }), HasSubstr("a list of texts is expected"));
  EXPECT_THAT(message_of([&] { c.integers("classes"); }), HasSubstr("classes[0] = \"A\""));
  EXPECT_THAT(message_of([&] { c.integers("scaling"); }), HasSubstr("scaling = an object"));
  EXPECT_THAT(message_of([&] { c.numbers("type"); }), HasSubstr("a list of numbers is expected"));
  EXPECT_THAT(message_of([&] { c.numbers("classes"); }), HasSubstr("classes[0]"));
  EXPECT_THAT(message_of([&] { c.object("type"); }), HasSubstr("an object is expected"));
  EXPECT_THAT(message_of([&] { c.object("scaling")->text("factor"); }),
              HasSubstr("in config.json: scaling: factor = 4"));
}

TEST(HfConfig, OnlyAnObjectIsAConfig) {
  EXPECT_THAT(message_of([] { config("[1]"); }), HasSubstr("this is a list, not a JSON object"));
  EXPECT_THAT(message_of([] { config("3"); }), HasSubstr("this is 3, not a JSON object"));
}

TEST(HfConfig, AFileIsReadAndNamed) {
  TemporaryFolder folder;
  const auto path = folder.write("config.json", kConfig);
  EXPECT_EQ(Config::read(path).where(), path.string());
  EXPECT_THAT(message_of([&] { Config::read(folder.path() / "other.json"); }), HasSubstr("other.json: cannot read"));
  folder.write("config.json", "{\"a\": nan}");
  EXPECT_THAT(message_of([&] { Config::read(path); }), HasSubstr("not valid JSON"));
}

TEST(HfConfig, NumbersWithoutWordsInJsonAreRefusedWhereANumberIsWanted) {
  TemporaryFolder folder;
  const Config c = Config::read(folder.write(
      "config.json", R"({"a": NaN, "b": {"__float__": "-Infinity"}, "c": {"__float__": "x"}, "d": 1e400})"));
  EXPECT_THAT(message_of([&] { c.number("a"); }), HasSubstr("a = NaN"));
  EXPECT_THAT(message_of([&] { c.number("b"); }), HasSubstr("b = -Infinity"));
  EXPECT_THAT(message_of([&] { c.number("c"); }), HasSubstr("c = an object"));
  EXPECT_THAT(message_of([&] { c.integer("d"); }), HasSubstr("d = Infinity"));
}

TEST(HfConfig, DefaultsFillWhatIsAbsentAndNotWhatIsNull) {
  const Config c = config(R"({"a": 1, "b": null})").with_defaults({{"a", 5}, {"b", 6}, {"c", 7}});
  EXPECT_EQ(c.integer("a"), 1);
  EXPECT_EQ(c.integer_or("b", 9), 9);
  EXPECT_EQ(c.integer("c"), 7);
  EXPECT_EQ(c.with_alias("c", "a").integer("a"), 7);
  EXPECT_EQ(c.with_alias("z", "a").integer("a"), 1);
}

TEST(JsonText, DepthAndNumberOfValuesAreBounded) {
  EXPECT_THAT(message_of([] { parse_json(std::string(1 << 20, '['), "x"); }), HasSubstr("nested more than 64 deep"));
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  EXPECT_THAT(message_of([&] { parse_json(objects, "x"); }), HasSubstr("nested more than 64 deep"));
  EXPECT_THAT(message_of([] { parse_json("[1,2,3,4]", "x", {.values = 3}); }), HasSubstr("more than 3 values"));
  EXPECT_EQ(parse_json("[[[1]]]", "x", {.depth = 3})[0][0][0], 1);
  EXPECT_THAT(message_of([] { parse_json("[[[1]]]", "x", {.depth = 2}); }), HasSubstr("nested"));
}

// As Python's json module reads them.
TEST(JsonText, NumbersThatPythonWritesAreRead) {
  const auto json =
      parse_json(R"({"NaN": [NaN, 1, "NaN", "a\"Infinity"], "b" : {"Infinity": Infinity}, "c": -Infinity,
    "d": 1e999, "e": -1.5E+4000, "f": 18446744073709551615, "g": 18446744073709551616, "h": -9223372036854775808,
    "i": -9223372036854775809, "j": 1e-999, "k": 2})",
                 "x");
  EXPECT_TRUE(std::isnan(json["NaN"][0].get<double>()));
  EXPECT_EQ(json["NaN"][1], 1);
  EXPECT_EQ(json["NaN"][2], "NaN");
  EXPECT_EQ(json["NaN"][3], "a\"Infinity");
  EXPECT_EQ(json["b"]["Infinity"], INFINITY);
  EXPECT_EQ(json["c"], -INFINITY);
  EXPECT_EQ(json["d"], INFINITY);
  EXPECT_EQ(json["e"], -INFINITY);
  EXPECT_EQ(json["f"].get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(json["g"], 0x1p64);
  EXPECT_EQ(json["h"].get<int64_t>(), INT64_MIN);
  EXPECT_EQ(json["i"], -0x1p63);
  EXPECT_EQ(json["j"], 0.0);
  EXPECT_EQ(json["k"], 2);
}

TEST(JsonText, TemplatesGetLongIntegersDigitByDigit) {
  const auto json =
      parse_ordered_json(R"({"a": 123456789012345678901234567890, "b": [-99999999999999999999, 1]})", "x");
  const auto digits = [](const nlohmann::ordered_json& j) {
    return std::string(j.get_binary().begin(), j.get_binary().end());
  };
  EXPECT_EQ(digits(json["a"]), "123456789012345678901234567890");
  EXPECT_EQ(digits(json["b"][0]), "-99999999999999999999");
  EXPECT_EQ(json["b"][1], 1);
}

TEST(JsonText, OddNumbersDoNotHideOtherErrors) {
  for (const std::string text :
       {"[NaN, NaN5]", "[infinity]", "[+Infinity]", "{NaN: 1}", "[NaN 1]", "[Infinity,]", "\"NaN",
        "[012345678901234567890123]", "[1.e999]", "[--99999999999999999999]", "[1e9e999]"})
    EXPECT_THAT(message_of([&] { parse_json(text, "x.json"); }), HasSubstr("in x.json: the text is not valid JSON"))
        << text;
  EXPECT_THAT(message_of([] { parse_json("[99999999999999999999, x]", "x"); }), HasSubstr("column 24"));
}

TEST(JsonText, WhatIsNoJsonIsRefused) {
  for (const std::string text : {"", "{", "{} x", "nan", "\"\xff\"", "// c\n1"})
    EXPECT_THAT(message_of([&] { parse_json(text, "x.json"); }), HasSubstr("in x.json: the text is not valid JSON"))
        << text;
  EXPECT_THAT(message_of([] { parse_json(std::string_view("{}\0{", 4), "x"); }), HasSubstr("byte 2 is NUL"));
  const std::string message = message_of([] { parse_json("\"\x1b[31m\"", "x"); });
  EXPECT_EQ(message.find('\x1b'), std::string::npos) << message;
}

}  // namespace
}  // namespace cachalot
