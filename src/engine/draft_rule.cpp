#include "engine/draft_rule.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace cachalot {

DraftRule::Width& DraftRule::width(int sequences) {
  CHECK(sequences > 0);
  const auto bits = static_cast<size_t>(std::bit_width(static_cast<unsigned>(sequences)));
  return widths_[std::min(bits, widths_.size() - 1)];
}

bool DraftRule::drafts(int sequences) {
  Width& w = width(sequences);
  for (const bool drafting : {true, false})  // both ways are tried first
    if ((drafting ? w.with : w.without).steps < kFirst) return drafting;
  const double with = w.with.seconds_per_token(), without = w.without.seconds_per_token();
  const bool better = with <= without;
  if (w.trial_left > 0) {
    --w.trial_left;
    return !better;
  }
  if (--w.steps_to_trial > 0) return better;
  // A trial's steps are longer, token by token, by this share of a step.
  const double loss = better ? without / with - 1 : with / without - 1;
  w.steps_to_trial =
      static_cast<int>(std::clamp(kTrial * loss / kCostOfTrials, double{kBetweenTrials}, double{kMostBetweenTrials}));
  w.trial_left = kTrial - 1;
  return !better;
}

void DraftRule::took(int sequences, bool drafting, int tokens, double seconds) {
  constexpr double kKept = 0.97;  // of what was known, when a step comes anew
  if (tokens <= 0 || !(seconds > 0)) return;
  Width& w = width(sequences);
  Way& way = drafting ? w.with : w.without;
  way.tokens = kKept * way.tokens + tokens;
  way.seconds = kKept * way.seconds + seconds;
  ++way.steps;
}

}  // namespace cachalot
