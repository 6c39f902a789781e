// Answers and what is to be told of them, however they are cut into pieces.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "text/chat/reply_parser.h"
#include "text/unicode.h"

namespace cachalot::testing {

// Reasoning in brackets, calls in braces: "[Hm.]I look.{weather {"city": "Oslo"}}".
inline std::string shown(const ReplyParts& parts) {
  std::string text;
  for (const ReplyPart& part : parts) {
    if (part.kind == ReplyPart::Kind::content) text += part.text;
    if (part.kind == ReplyPart::Kind::reasoning) text += "[" + part.text + "]";
    if (part.kind == ReplyPart::Kind::call) text += "{" + part.name + " " + part.text + "}";
  }
  return text;
}

inline ReplyParts parsed(const ReplySyntax& syntax, const std::vector<std::string>& pieces) {
  ReplyParser parser(syntax);
  ReplyParts parts;
  size_t pushed = 0, certain = 0;
  for (const std::string& piece : pieces) {
    append(parts, parser.push(piece));
    pushed += piece.size();
    EXPECT_LE(parser.held_bytes(), pushed);
    EXPECT_GE(pushed - parser.held_bytes(), certain) << "what was certain no longer is";
    certain = pushed - parser.held_bytes();
    EXPECT_FALSE(parser.in_reasoning() && parser.in_content());
    EXPECT_EQ(parser.in_content() || parser.ended(), parser.content_begin().has_value() || parser.ended());
    if (parser.content_begin()) { EXPECT_LE(*parser.content_begin(), certain); }
  }
  append(parts, parser.finish());
  EXPECT_TRUE(parser.ended() || parser.held_bytes() == 0);
  append(parts, parser.finish());  // says nothing more
  return parts;
}

// The borders of a text's characters, its end among them.
inline std::vector<size_t> borders_of(const std::string& text) {
  std::vector<size_t> borders;
  for (size_t at = 0; at < text.size(); at += static_cast<size_t>(code_point_at(text, at).bytes))
    borders.push_back(at);
  borders.push_back(text.size());
  return borders;
}

inline std::vector<std::string> cut(const std::string& text, const std::vector<size_t>& cuts) {
  std::vector<std::string> pieces;
  size_t begin = 0;
  for (const size_t end : cuts) {
    pieces.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

// The answer whole, cut once anywhere, into characters, and into bursts of them.
inline void expect_however_cut(const ReplySyntax& syntax, const std::string& text, const ReplyParts& want) {
  SCOPED_TRACE(text);
  const std::vector<size_t> borders = borders_of(text);
  for (const size_t at : borders) ASSERT_EQ(shown(parsed(syntax, cut(text, {at}))), shown(want)) << "cut at " << at;
  ASSERT_EQ(parsed(syntax, cut(text, borders)), want) << "in characters";
  std::mt19937 random(static_cast<unsigned>(text.size()));
  for (const double share : {0.5, 0.2, 0.05}) {
    std::vector<size_t> some;
    for (const size_t at : borders)
      if (std::bernoulli_distribution(share)(random)) some.push_back(at);
    ASSERT_EQ(parsed(syntax, cut(text, some)), want) << "in bursts";
  }
}

// And what is told of it is `want` as shown().
inline void expect_shown(const ReplySyntax& syntax, const std::string& text, const std::string& want) {
  SCOPED_TRACE(text);
  const ReplyParts whole = parsed(syntax, {text});
  EXPECT_EQ(shown(whole), want);
  for (const ReplyPart& part : whole) {
    if (part.kind != ReplyPart::Kind::call) continue;
    EXPECT_FALSE(part.name.empty());
    EXPECT_TRUE(nlohmann::json::parse(part.text, nullptr, false).is_object()) << part.text;
  }
  expect_however_cut(syntax, text, whole);
}

// A tool of each name, with arguments of every type.
inline std::shared_ptr<const Tools> some_tools() {
  const auto parameters = nlohmann::ordered_json::parse(R"({
    "type": "object",
    "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}, "share": {"type": "number"}, "sure": {"type": "boolean"},
      "nothing": {"type": "null"}, "list": {"type": "array"}, "object": {"type": "object"},
      "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "number_or_text": {"type": ["integer", "string"]},
      "text_or_number": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
      "text_or_list": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
      "days_or_not": {"type": "integer", "nullable": true}, "level": {"enum": [1, 2, 3]}, "one": {"const": 1},
      "place": {"$ref": "#/$defs/place"}, "loop": {"$ref": "#/$defs/loop"}, "places": {"anyOf": [{"$ref": "#/$defs/list"}]},
      "any": {}
    },
    "$defs": {"place": {"type": "object"}, "loop": {"$ref": "#/$defs/loop"}, "list": {"type": "array"}}
  })");
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const char* name : {"weather", "now", "write"})
    list.push_back({{"type", "function"}, {"function", {{"name", name}, {"parameters", parameters}}}});
  return std::make_shared<const Tools>(list);
}

inline ReplySyntax syntax_of(CallForm form, bool starts_inside = false) {
  static const auto tools = some_tools();
  return {.format = {.calls = form}, .starts_inside = starts_inside, .tools = tools};
}

}  // namespace cachalot::testing
