// Splits a streamed answer into reasoning, content and calls of tools, on text: it does not matter how tags were cut
// into tokens. What comes out, put together, is the same however the text was cut into pieces.
//
//   ReplyParser parser({.format = format, .starts_inside = prompt_opens_reasoning(prompt, format), .tools = tools});
//   for each piece of valid UTF-8:  show(parser.push(piece));
//   show(parser.finish());
//
// A call is told when it is whole and well-formed, and not before: so no half of one is ever told as a call, and what
// turns out to be none is given back as the text that it is, where it stood. That holds for one that the answer's end
// cuts off, too.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat/reply_format.h"
#include "text/chat/tools.h"

namespace cachalot {

// A piece of an answer, in the order in which the model wrote it.
struct ReplyPart {
  enum class Kind { reasoning, content, call };
  Kind kind;
  std::string text;  // of a call its arguments: a JSON object
  std::string name;  // of a call: the tool's

  bool operator==(const ReplyPart&) const = default;
};
using ReplyParts = std::vector<ReplyPart>;  // no two of reasoning or of content side by side

// What has been told of an answer, all kinds but `kind` left out; of several parts the texts side by side.
std::string text_of(const ReplyParts& parts, ReplyPart::Kind kind);
// Appends, and joins reasoning with reasoning and content with content.
void append(ReplyParts& parts, ReplyParts&& more);

struct ReplySyntax {
  ReplyFormat format;
  bool starts_inside = false;          // the prompt ended inside reasoning
  std::shared_ptr<const Tools> tools;  // none: nothing is a call, and its text is content
  // The reasoning has a limit: what ended it was perhaps not the model's own, which may then say so once more.
  // Closing tags in the content are dropped.
  bool limited = false;
  bool one_call = false;  // behind the first call nothing is told

  // Every tag that has a meaning here.
  std::vector<std::string_view> tags() const;
};

// Reasoning begins inside, or where the reply, after white space, begins with the tag; opened once more before it
// says anything, it is opened once. The first closing tag ends it; later ones are content. Line breaks next to a tag
// are dropped.
//
// Calls are found in content and in reasoning (there only of tools that are offered, since models write about calls
// there). White space next to a call is dropped.
class ReplyParser {
 public:
  explicit ReplyParser(ReplySyntax syntax);
  ~ReplyParser();
  ReplyParser(ReplyParser&&) noexcept;
  ReplyParser& operator=(ReplyParser&&) noexcept;

  // What the piece makes certain. Held back is what may still become a tag or a call, and white space that is dropped
  // next to one.
  ReplyParts push(std::string_view piece);
  // The end of the answer: what was held back.
  ReplyParts finish();

  size_t held_bytes() const;  // of what was pushed, those at its end of which nothing was told or dropped yet
  // Whether what comes now is certainly reasoning, certainly behind it.
  bool in_reasoning() const;
  bool in_content() const;
  // Where content begins in what was pushed, in bytes: behind reasoning, its tag and line breaks; once it is known.
  std::optional<size_t> content_begin() const;
  // After the call with ReplySyntax::one_call: held_bytes() is then what stands behind it.
  bool ended() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

// Whether a prompt ends with an opened tag of reasoning, white space behind it allowed.
bool prompt_opens_reasoning(std::string_view rendered_prompt, const ReplyFormat& format);

}  // namespace cachalot
