#include "cli/statistics.h"

#include <fmt/format.h>

#include "cli/terminal.h"

namespace cachalot {

std::string statistics(const Answer& answer, const EngineOptions& engine) {
  std::string text = fmt::format("{} prompt tokens", answer.prompt_tokens);
  if (answer.cached_tokens > 0) text += fmt::format(" ({} known)", answer.cached_tokens);
  if (answer.prefill_s > 0) text += fmt::format(" at {} tokens/s", rate_text(answer.prefill_tokens_per_s()));
  text += fmt::format(", {} tokens", answer.tokens.size());
  if (answer.tokens.size() > 1) text += fmt::format(" at {} tokens/s", rate_text(answer.decode_tokens_per_s()));
  if (answer.drafted > 0)
    text += fmt::format(" ({} of {} drafts accepted, {:.0f} %)", answer.accepted, answer.drafted,
                        100.0 * answer.accepted / answer.drafted);
  const bool full = answer.prompt_tokens + static_cast<int>(answer.tokens.size()) >= engine.context;
  if (answer.finish == FinishReason::length)
    text += full ? fmt::format("; cut off: the context of {} tokens is full", engine.context)
                 : "; cut off by --max-tokens";
  if (answer.finish == FinishReason::length && answer.text.empty() && answer.calls.empty() &&
      !answer.reasoning.empty())
    text += " while reasoning, before the answer";
  if (answer.finish == FinishReason::cancelled) text += "; stopped by Ctrl-C";
  return text;
}

}  // namespace cachalot
