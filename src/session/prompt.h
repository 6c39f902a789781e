// What a model is asked, as tokens: a conversation in the checkpoint's own format, or a text as it is.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "load/loaded_model.h"
#include "ops/batch.h"
#include "session/chat_writer.h"
#include "text/chat/chat_prompt.h"
#include "text/chat/reply_parser.h"

namespace cachalot {

struct Prompt {
  std::vector<int32_t> tokens;
  // Of a chat: how the answer is written, with reasoning and calls of the tools that it offers. None: as it is.
  std::optional<ReplySyntax> reply = std::nullopt;
  std::vector<int32_t> reply_tags = {};  // special tokens in the tags of such an answer: their text is read, too
  std::vector<int32_t> ends;             // tokens that end the answer beside the model's own
  std::vector<PositionSpan> answers;     // positions of what the assistant said in earlier turns (answer_spans.h)
  std::optional<int> reasoning_tokens = std::nullopt;  // that the answer may have at most (thinking_budget.h)
};

// Makes the prompts of one model. Immutable, so any thread may use it; borrows the text side.
class PromptWriter {
 public:
  PromptWriter(const TextModel& text, std::vector<int32_t> end_tokens);

  // A conversation by the rules of chat_writer.h, as text, and that text as tokens. Throws Error when the checkpoint
  // has no template or the template refuses.
  WrittenChat write(const ChatRequest& request) const;
  Prompt encode(const ChatRequest& request, WrittenChat written) const;
  Prompt ask(const ChatRequest& request) const { return encode(request, write(request)); }
  // `variables` are the template's, as they are: messages, tools and so on. Throws Error when the checkpoint has no
  // template or the template refuses.
  Prompt chat(const nlohmann::ordered_json& variables) const;
  // Special tokens in the text are recognised; the BOS is added that the checkpoint asks for.
  Prompt raw(std::string_view text) const;
  // What stands before and behind a place that is to be filled in; no special token is recognised in either. Throws
  // Error when the vocabulary has no tokens for that.
  Prompt infill(std::string_view prefix, std::string_view suffix) const;
  // That a text of so many bytes has at least, whatever it says.
  size_t fewest_tokens(size_t bytes) const { return bytes / most_token_bytes_; }

 private:
  // `tools` is a list; it may be null.
  Prompt prompt_of(ChatPrompt chat, const nlohmann::ordered_json& tools) const;
  void continue_text(std::string_view last, Prompt& prompt) const;
  const ChatTemplate& chat_template() const;

  const TextModel& text_;
  std::vector<int32_t> end_tokens_;
  std::string opening_;  // what the template writes before an answer
  std::optional<ChatWriter> writer_;
  size_t most_token_bytes_;  // of a text, that one token stands for
};

// A line on stderr when `tokens`, encoded with BOS, begin with two of them since the text has one itself.
void warn_of_second_bos(const Tokenizer& tokenizer, std::span<const int32_t> tokens);

}  // namespace cachalot
