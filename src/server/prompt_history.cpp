#include "server/prompt_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "ops/batch.h"

namespace cachalot {

static int common_beginning(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<int>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

PromptHistory::Asked PromptHistory::ask(const Request& request) {
  Asked asked{
      .own = std::make_shared<Text>(Text{.caller = request.caller, .salt = request.salt, .tokens = request.prompt}),
      .nearest = nullptr};
  const Text& own = *asked.own;
  size_t of_this_one = 1;
  auto oldest_of_this_one = texts_.end();
  for (auto text = texts_.begin(); text != texts_.end(); ++text) {
    if ((*text)->caller != own.caller || (*text)->salt != own.salt) continue;
    if (of_this_one++ == 1) oldest_of_this_one = text;
    const int common = common_beginning(own.tokens, (*text)->tokens);
    if (common == 0 || common < asked.common) continue;
    asked.common = common;
    asked.nearest = *text;
  }
  const int last = static_cast<int>(own.tokens.size()) - 1;
  asked.asks_for_rows = request.prompt_logprobs >= 0 || request.embedding == Pooling::mean ||
                        request.computed_from.value_or(last) < last;
  texts_.push_back(asked.own);
  if (of_this_one > limits_.prompts_of_one) forget(oldest_of_this_one);
  asked.own->remembered = true;
  tokens_ += std::ssize(own.tokens);
  keep_within_limits();
  return asked;
}

void PromptHistory::forget(Texts::iterator text) {
  tokens_ -= std::ssize((*text)->tokens);
  (*text)->remembered = false;
  texts_.erase(text);
}

void PromptHistory::keep_within_limits() {
  while (tokens_ > limits_.tokens || texts_.size() > limits_.prompts) forget(texts_.begin());
}

void PromptHistory::add(const Asked& asked, int32_t token) noexcept {
  Text& text = *asked.own;
  if (!text.remembered || !text.whole) return;
  try {
    text.tokens.push_back(token);
    ++tokens_;
    keep_within_limits();
  } catch (const std::bad_alloc&) { text.whole = false; }
}

// The last token of an answer has no row, and of a text that is not at its end rows of one block more may be missing.
PrefixFinding PromptHistory::begun(const Asked& asked, const Found& found) {
  using Why = PrefixFinding::Why;
  PrefixFinding f{.cached_tokens = found.tokens};
  f.prompt_tokens = static_cast<int>(asked.own->tokens.size());
  f.common_tokens = std::max(asked.common, found.tokens);
  const auto findable = [&](int rows) { return rows / found.together * found.together; };
  const int most = findable(f.prompt_tokens - 1);
  const auto all_of = [&](int rows) { return found.tokens >= findable(rows); };
  if (asked.asks_for_rows && found.tokens < most)
    f.why = Why::asked;
  else if (f.common_tokens == 0)
    f.why = Why::fresh;
  else if (f.common_tokens < found.together || most == 0)
    f.why = Why::short_;
  else if (found.tokens >= most)
    f.why = Why::all;
  else if (all_of(f.common_tokens - 1))
    f.why = Why::differs;
  else if (!asked.nearest->computed || (!asked.nearest->ended && all_of(f.common_tokens - kBlockTokens)))
    f.why = Why::unfinished;
  else
    f.why = found.evictions > asked.nearest->last_evictions ? Why::evicted : Why::other_rows;
  asked.own->last_evictions = found.evictions;
  return f;
}

static std::string reason(const PrefixFinding& f) {
  using Why = PrefixFinding::Why;
  switch (f.why) {
    case Why::all: return "all but what is always computed";
    case Why::fresh: return "nothing asked of late began so";
    case Why::short_:
      return fmt::format("an earlier text has {} tokens in common with it, too few to be found", f.common_tokens);
    case Why::differs: return fmt::format("it leaves what was asked of late after {} tokens", f.common_tokens);
    case Why::unfinished:
      return fmt::format("an earlier text has {} tokens in common with it, whose rows had not all been computed",
                         f.common_tokens);
    case Why::evicted:
      return fmt::format(
          "an earlier text has {} tokens in common with it, but the room of its blocks has been needed",
          f.common_tokens);
    case Why::other_rows:
      return fmt::format(
          "an earlier text has {} tokens in common with it, but their rows depend on how long each prompt is",
          f.common_tokens);
    case Why::asked: return "the request wants its rows computed (log-probabilities of the prompt)";
  }
  return "";
}

std::string sentence(const PrefixFinding& f) {
  return fmt::format("{} of {} prompt tokens were cached: {}", f.cached_tokens, f.prompt_tokens, reason(f));
}

}  // namespace cachalot
