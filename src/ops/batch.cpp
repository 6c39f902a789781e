#include "ops/batch.h"

namespace cachalot {

std::vector<PositionSpan> expanded_spans(int prompt_tokens, std::span<const PositionSpan> answers) {
  std::vector<PositionSpan> expanded;
  int begin = 0;
  const auto take_until = [&](int end) {
    if (end - begin >= kExpandedFromTokens) expanded.push_back({begin, end});
  };
  for (const PositionSpan& answer : answers) {
    take_until(answer.begin);
    begin = answer.end;
  }
  take_until(prompt_tokens);
  return expanded;
}

}  // namespace cachalot
