#include "text/chat/tools.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

TEST(Tools, AreKnownByName) {
  const Tools tools(Json::parse(
      R"([{"type": "function", "function": {"name": "a", "parameters": {"properties": {"x": {"type": "string"}}}}},
                                    {"name": "b"}])"));
  EXPECT_TRUE(tools.has("a"));
  EXPECT_TRUE(tools.has("b"));
  EXPECT_FALSE(tools.has("c"));
  EXPECT_FALSE(tools.empty());
  EXPECT_TRUE(Tools(Json::array()).empty());
  ASSERT_TRUE(tools.argument("a", "x"));
  EXPECT_EQ(*tools.argument("a", "x"), Json::parse(R"({"type": "string"})"));
  EXPECT_FALSE(tools.argument("a", "y"));
  EXPECT_FALSE(tools.argument("b", "x"));
  EXPECT_FALSE(tools.argument("c", "x"));
  EXPECT_TRUE(tools.arguments("a"));
  EXPECT_FALSE(tools.arguments("b"));
}

TEST(Tools, FollowReferencesWithinTheParameters) {
  const Tools tools(Json::parse(R"([{"name": "a", "parameters": {
      "$ref": "#/$defs/all",
      "$defs": {"all": {"properties": {"x": {"$ref": "#/$defs/x"}, "loop": {"$ref": "#/$defs/loop"}, "away": {"$ref": "http://a"},
                                       "nowhere": {"$ref": "#/$defs/none"}, "bad": {"$ref": "#bad~"}, "number": {"$ref": 5},
                                       "true": true}},
                "x": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}}}])"));
  ASSERT_TRUE(tools.argument("a", "x"));
  EXPECT_EQ((*tools.argument("a", "x"))["type"], "integer");
  for (const char* name : {"loop", "away", "nowhere", "bad", "number"})
    EXPECT_FALSE(tools.argument("a", name)) << name;
  EXPECT_TRUE(tools.argument("a", "true"));
}

TEST(Tools, OfOtherShapesAreRefused) {
  for (const char* list : {"{}", "null", "[1]", "[{}]", R"([{"name": ""}])", R"([{"name": 5}])",
                           R"([{"function": 5}])", R"([{"name": "a"}, {"type": "function"}])"})
    EXPECT_THROW(Tools{Json::parse(list)}, Error) << list;
  for (const char* list :
       {R"([{"name": "a", "parameters": 5}])", R"([{"name": "a", "parameters": {"properties": []}}])"})
    EXPECT_FALSE(Tools(Json::parse(list)).argument("a", "x")) << list;
}

}  // namespace
}  // namespace cachalot
