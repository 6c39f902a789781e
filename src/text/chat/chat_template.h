// A checkpoint's chat template: a conversation in, the text of the prompt out, byte for byte as transformers'
// apply_chat_template(tokenize=False) gives it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "jinja/template.h"

namespace cachalot {

// One template of a checkpoint. "default" is for every conversation, "tool_use" for those with tools.
struct ChatTemplateSource {
  std::string name, text;
};

// Names of variables and the texts of tokens: "bos_token", "pad_token", …
using NamedTokens = std::vector<std::pair<std::string, std::string>>;

// What JSON cannot say of a message's content.
struct ContentNote {
  std::optional<Provenance> said;  // whose words it is made of; none: as ChatTemplate::write says
  bool null = false;               // it is null, and the template is to see that instead of nothing
};

// Of what an assistant wrote all was said but <think>, </think>, <tool_call> and </tool_call>, which models write as
// tokens.
Provenance said_by_assistant(std::string_view text);
// Notes that all strings below `json` were said, the keys of objects too.
void attribute_all(const nlohmann::ordered_json& json, Attribution& attribution);

class ChatTemplate {
 public:
  // `sources` must not be empty. A source that is not a template that we can run is an error only once it is needed.
  ChatTemplate(const std::vector<ChatTemplateSource>& sources, NamedTokens tokens);
  // A template that could not even be read: every use throws `error`.
  explicit ChatTemplate(Error error);
  // One source. An empty token is one that the tokenizer does not have: it stays undefined in the template. Throws
  // Error when the source is not a template that we can run.
  ChatTemplate(std::string source, std::string bos_token, std::string eos_token);

  // Throws what a conversation without tools would throw, whatever it says.
  void check() const { chosen(/*with_tools=*/false); }

  // variables: an object with "messages" (a list of objects), optionally "tools", "documents",
  // "add_generation_prompt" (true when absent) and whatever else the template reads ("enable_thinking", …). A
  // message's reasoning may be named reasoning_content, thinking or reasoning; templates see it as reasoning_content
  // and as thinking. Throws Error for variables of another form, when the template fails and when it refuses the
  // conversation; for the last, the message says "the chat template refused the conversation: …".
  //
  // What is said in the result (jinja/provenance.h) comes of `variables`, of keys and values alike, with two
  // exceptions, both in messages: a role that is what speakers are called ("user") is the template's, which may make
  // a token of it; and the content and reasoning of messages of the role "assistant" are as said_by_assistant() has
  // it. contents: a note of each message, or none at all.
  AttributedText write(const nlohmann::ordered_json& variables, std::span<const ContentNote> contents = {},
                       const jinja::Limits& limits = {}) const;
  // The same up to where the last message's content, a text, ends, so that a model goes on with it, as transformers'
  // continue_final_message does. Throws Error, too, when the template leaves out some of that content.
  AttributedText write_continued(const nlohmann::ordered_json& variables,
                                 std::span<const ContentNote> contents = {}) const;
  std::string render(const nlohmann::ordered_json& variables) const { return write(variables).text; }
  // Whether templates have something of this name without being given it: a token's text, a function of the language.
  bool provides(std::string_view name) const;

  // Whether the text of one of the templates has this word.
  bool mentions(std::string_view word) const;

 private:
  struct Choice {
    std::string name, text;
    std::optional<jinja::Template> parsed;
    std::optional<Error> error;  // why it is not
  };
  const Choice* find(std::string_view name) const;
  const jinja::Template& chosen(bool with_tools) const;

  std::vector<Choice> choices_;
  NamedTokens tokens_;
};

}  // namespace cachalot
