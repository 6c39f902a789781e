// One answer of a model, from the engine's tokens to text and reasoning: what `run`, `chat` and whoever else talks to
// an engine share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "session/prompt.h"
#include "text/chat/reasoning.h"
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

// The text of one answer while its tokens come. Reasoning comes before text.
class AnswerStream {
 public:
  // Borrows the tokenizer.
  AnswerStream(const Tokenizer& tokenizer, const Prompt& prompt, AnswerText how)
      : decoder_(tokenizer, how.skip_special),
        stops_(std::move(how.stops)),
        splitter_(prompt.opens_reasoning),
        min_tokens_(how.min_tokens),
        include_stop_(how.include_stop),
        split_(prompt.chat) {}

  // What the token makes certain; either part may be empty.
  SplitReply push(int32_t token);
  // The end of the answer: what was held back.
  SplitReply finish();
  // A stop text has appeared: nothing that comes now is part of the answer.
  bool stopped() const { return stops_.found(); }
  const std::string& stop_text() const { return stops_.found_text(); }

  // Places in all that tokens were decoded to, in bytes: where it ends by now; the end of a character that has only
  // begun, is none yet; up to where it is certain: told, or dropped as a tag is; and where content begins behind
  // reasoning, once that is known.
  size_t decoded() const { return decoded_; }
  bool within_character() const { return decoder_.holds(); }
  size_t certain() const { return passed_ - splitter_.held_bytes(); }
  std::optional<size_t> content_begin() const { return content_begin_; }

 private:
  SplitReply take(const std::string& decoded, bool look_for_stops);
  SplitReply split(const std::string& piece);

  StreamDecoder decoder_;
  StopStrings stops_;
  ReasoningSplitter splitter_;
  int min_tokens_;
  bool include_stop_, split_;
  int tokens_ = 0;
  size_t decoded_ = 0, passed_ = 0;  // bytes; passed: the stops
  std::optional<size_t> content_begin_;
};

struct Answer {
  std::string text, reasoning;
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
