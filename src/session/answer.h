// One answer of a model, from the engine's tokens to text, reasoning and calls of tools: what `run`, `chat` and
// whoever else talks to an engine share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "session/prompt.h"
#include "text/chat/reply_parser.h"
#include "text/chat/stop_strings.h"
#include "text/tokenizer/stream_decoder.h"

namespace cachalot {

// How an answer's tokens become text.
struct AnswerText {
  std::vector<std::string> stops;  // texts that end the answer; found in reasoning, too
  int min_tokens = 0;              // stops are not looked for in the text of so many first tokens
  bool include_stop = false;       // the stop text is part of the answer
  bool skip_special = true;        // special tokens give no text
};

// What one answer says while its tokens come.
class AnswerStream {
 public:
  // Borrows the tokenizer. `one_call`: behind the first call the answer ends.
  AnswerStream(const Tokenizer& tokenizer, const Prompt& prompt, AnswerText how, bool one_call = false);

  // What the token makes certain.
  ReplyParts push(int32_t token);
  // The end of the answer: what was held back.
  ReplyParts finish();
  // A stop text has appeared, or the one call: nothing that comes now is part of the answer.
  bool stopped() const { return stops_.found() || (parser_ && parser_->ended()); }
  // "" where it was none.
  const std::string& stop_text() const { return stops_.found_text(); }

  // Places in all that tokens were decoded to, in bytes: where it ends by now; the end of a character that has only
  // begun, is none yet; up to where it is certain: told, or dropped as a tag is; and where content begins behind
  // reasoning, once that is known.
  size_t decoded() const { return decoded_; }
  bool within_character() const { return decoder_.holds(); }
  size_t certain() const { return passed_ - (parser_ ? parser_->held_bytes() : 0); }
  std::optional<size_t> content_begin() const { return parser_ ? parser_->content_begin() : 0; }

 private:
  ReplyParts take(const std::string& decoded, bool look_for_stops);
  ReplyParts parse(const std::string& piece);

  StreamDecoder decoder_;
  StopStrings stops_;
  std::optional<ReplyParser> parser_;  // none: all is content
  int min_tokens_;
  bool include_stop_;
  int tokens_ = 0;
  size_t decoded_ = 0, passed_ = 0;  // bytes; passed: the stops
};

struct Answer {
  std::string text, reasoning;
  std::vector<ReplyPart> calls;
  std::vector<int32_t> tokens;  // without the one that ended it
  FinishReason finish = FinishReason::stop;
  int prompt_tokens = 0, cached_tokens = 0;  // of the prompt, those that an earlier request had left in the cache
  int drafted = 0, accepted = 0;  // speculation: tokens guessed, and those of them that the model chose, too
  double prefill_s = 0;           // until the first token; 0 when none was predicted
  double decode_s = 0;            // from the first token to the last

  double prefill_tokens_per_s() const { return prefill_s > 0 ? (prompt_tokens - cached_tokens) / prefill_s : 0; }
  double decode_tokens_per_s() const { return decode_s > 0 ? static_cast<double>(tokens.size() - 1) / decode_s : 0; }
};

// Hears the answer while it is made; what is empty hears nothing.
struct AnswerSink {
  std::function<void(std::string_view)> reasoning, text;
  std::function<void(const ReplyPart&)> call;
};

struct AnswerOptions {
  SamplingParams sampling;
  std::optional<int> max_tokens;
  std::vector<std::string> stops;
};

// Runs one request to its end; when `cancelled` says so, that is FinishReason::cancelled. Other requests of the
// engine go on meanwhile, and their news are lost: it is for who has the engine alone. Throws Error when the prompt
// does not fit or the model's output is not a number.
Answer answer(Engine& engine, const LoadedModel& model, const Prompt& prompt, const AnswerOptions& options,
              const AnswerSink& sink, const std::function<bool()>& cancelled);

}  // namespace cachalot
