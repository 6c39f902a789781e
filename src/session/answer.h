// One answer of a model, from the engine's tokens to text and reasoning: what `run`, `chat` and whoever else talks to
// an engine share.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "session/prompt.h"
#include "text/chat/reasoning.h"
#include "text/chat/stop_strings.h"
#include "text/tokenizer/stream_decoder.h"

namespace cachalot {

// The text of one answer while its tokens come. Reasoning comes before text.
class AnswerStream {
 public:
  // Borrows the tokenizer. `stops` are found in reasoning, too.
  AnswerStream(const Tokenizer& tokenizer, const Prompt& prompt, std::vector<std::string> stops)
      : decoder_(tokenizer, /*skip_special=*/true),
        stops_(std::move(stops)),
        splitter_(prompt.opens_reasoning),
        split_(prompt.chat) {}

  // What the token makes certain; either part may be empty.
  SplitReply push(int32_t token) { return split(stops_.push(decoder_.push(token))); }
  // The end of the answer: what was held back.
  SplitReply finish();
  // A stop text has appeared: nothing that comes now is part of the answer.
  bool stopped() const { return stops_.found(); }

 private:
  SplitReply split(const std::string& piece);

  StreamDecoder decoder_;
  StopStrings stops_;
  ReasoningSplitter splitter_;
  bool split_;
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
