// One answer of a model, from prompt tokens to streamed text: what `run` and `chat` share.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/interrupt.h"
#include "load/loaded_model.h"

namespace cachalot {

struct Prompt {
  std::vector<int32_t> tokens;
  bool chat = false;             // a template made it: the answer may hold reasoning
  bool opens_reasoning = false;  // it ends inside <think>
};

// A conversation in the checkpoint's own format. `variables` are the template's: messages and so on.
// Throws Error when the checkpoint has no template or the template refuses.
Prompt chat_prompt(const TextModel& text, const nlohmann::ordered_json& variables);
// The text as it is, special tokens in it recognised, with the BOS that the checkpoint asks for.
Prompt raw_prompt(const TextModel& text, std::string_view prompt);
// A line on stderr when `tokens`, encoded with BOS, begin with two of them since the text has one itself.
void warn_of_second_bos(const Tokenizer& tokenizer, std::span<const int32_t> tokens);

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

// Hears the answer while it is made. Reasoning comes before text.
struct AnswerSink {
  std::function<void(std::string_view)> reasoning, text;
};

struct AnswerOptions {
  SamplingParams sampling;
  std::optional<int> max_tokens;
  std::vector<std::string> stops;  // found in reasoning, too
};

// Runs one request to its end; Ctrl-C ends it with FinishReason::cancelled. Throws Error when the prompt does not fit
// or the model's output is not a number.
Answer generate(Engine& engine, const LoadedModel& model, const Prompt& prompt, const AnswerOptions& options,
                const AnswerSink& sink, const Interrupt& interrupt);

// "12 prompt tokens (8 known) at 345 tokens/s, 57 tokens at 123 tokens/s", and why it ended if not by itself.
std::string statistics(const Answer& answer, const EngineOptions& engine);

}  // namespace cachalot
