// An answer to reasoning, content and calls. The first byte says how answers are written, the second how the text is
// cut into pieces, which must not matter. What is told must be what a dialect can tell: no text is lost or made up.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>

#include "text/chat/reply_parser.h"
#include "text/unicode.h"

using namespace cachalot;

static const std::shared_ptr<const Tools> kTools = std::make_shared<const Tools>(nlohmann::ordered_json::parse(R"([
  {"name": "f", "parameters": {"properties": {
    "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
    "a": {"type": "array"}, "o": {"type": "object"}, "u": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "r": {"$ref": "#/properties/r"}}}},
  {"name": "weather"}])"));

static void check(const ReplyParser& parser, size_t pushed, size_t& certain) {
  if (parser.held_bytes() > pushed || pushed - parser.held_bytes() < certain) std::abort();
  certain = pushed - parser.held_bytes();
  if (parser.content_begin() && *parser.content_begin() > certain) std::abort();
}

// `burst`: how many characters a piece has at most.
static ReplyParts parsed(const ReplySyntax& syntax, std::string_view text, unsigned burst) {
  ReplyParser parser(syntax);
  ReplyParts parts;
  std::mt19937 random(burst);
  size_t certain = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    for (unsigned left = 1 + random() % burst; left > 0 && end < text.size(); --left)
      end += static_cast<size_t>(code_point_at(text, end).bytes);
    append(parts, parser.push(text.substr(begin, end - begin)));
    check(parser, end, certain);
    begin = end;
  }
  append(parts, parser.finish());
  if (!parser.ended() && parser.held_bytes() != 0) std::abort();
  return parts;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string text = repaired_utf8({reinterpret_cast<const char*>(data) + 2, size - 2});
  const ReplySyntax syntax{.format = {.calls = static_cast<CallForm>(data[0] % 7)},
                           .starts_inside = (data[0] & 64) != 0,
                           .tools = kTools,
                           .one_call = (data[0] & 128) != 0};
  const ReplyParts whole = parsed(syntax, text, 1u << 30);
  if (whole != parsed(syntax, text, 1) || whole != parsed(syntax, text, 2 + data[1])) std::abort();
  size_t at = 0;
  for (const ReplyPart& part : whole) {
    if (part.kind == ReplyPart::Kind::call) {
      if (part.name.empty() || !nlohmann::json::parse(part.text, nullptr, false).is_object()) std::abort();
      if (part.kind == ReplyPart::Kind::call && syntax.format.calls == CallForm::none) std::abort();
    } else {  // what is told stands in the answer, one behind the other, but for what is dropped between
      if (part.text.empty()) std::abort();
      for (const char c : part.text) {
        at = text.find(c, at);
        if (at == text.npos) std::abort();
        ++at;
      }
    }
  }
  return 0;
}
