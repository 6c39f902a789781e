#include "ops/moe_gate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"

namespace cachalot {

static constexpr float kRefused = -std::numeric_limits<float>::infinity();

static std::vector<float> scores_of(GateScore form, std::span<const float> logits_E) {
  std::vector<float> score_E(logits_E.begin(), logits_E.end());
  if (form == GateScore::sigmoid) {
    for (float& s : score_E) s = 1.0f / (1.0f + std::exp(-s));
    return score_E;
  }
  const float highest = *std::max_element(score_E.begin(), score_E.end());
  float sum = 0;
  for (float& s : score_E) sum += s = std::exp(s - highest);
  for (float& s : score_E) s /= sum;
  return score_E;
}

// Index of the largest element, the lowest among equals.
static size_t best_of(std::span<const float> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

static float group_score(GroupScore form, std::span<const float> members) {
  const size_t best = best_of(members);
  if (form == GroupScore::best || members.size() == 1) return members[best];
  float second = kRefused;
  for (size_t i = 0; i < members.size(); ++i)
    if (i != best) second = std::max(second, members[i]);
  return members[best] + second;
}

// Sets the selection scores of all but the best groups to "refused".
static void close_groups(const MoeGateSpec& spec, std::span<float> selection_E) {
  const auto size = static_cast<size_t>(spec.experts / spec.groups);
  std::vector<float> score;
  for (size_t first = 0; first < selection_E.size(); first += size)
    score.push_back(group_score(spec.group_score, selection_E.subspan(first, size)));
  std::vector<bool> open(score.size(), false);
  for (int i = 0; i < spec.active_groups; ++i) {
    const size_t best = best_of(score);
    open[best] = true;
    score[best] = kRefused;
  }
  for (size_t e = 0; e < selection_E.size(); ++e)
    if (!open[e / size]) selection_E[e] = kRefused;
}

void choose_experts(const MoeGateSpec& spec, std::span<const float> logits_E, std::span<const float> correction_E,
                    std::span<int32_t> expert_A, std::span<float> weight_A) {
  const auto experts = static_cast<size_t>(spec.experts), active = static_cast<size_t>(spec.active);
  CHECK(logits_E.size() == experts && expert_A.size() == active && weight_A.size() == active);
  CHECK(correction_E.empty() || correction_E.size() == experts);
  CHECK(spec.groups > 0 && spec.experts % spec.groups == 0 && spec.active_groups <= spec.groups);
  CHECK(spec.active <= spec.experts / spec.groups * spec.active_groups);

  const std::vector<float> score_E = scores_of(spec.score, logits_E);
  std::vector<float> selection_E = score_E;
  for (size_t e = 0; e < correction_E.size(); ++e) selection_E[e] += correction_E[e];
  if (spec.active_groups < spec.groups) close_groups(spec, selection_E);

  float sum = 0;
  for (size_t a = 0; a < active; ++a) {
    const size_t best = best_of(selection_E);
    expert_A[a] = static_cast<float>(best);
    sum += weight_A[a] = score_E[best];
    selection_E[best] = kRefused;
  }
  for (float& weight : weight_A) {
    if (spec.normalised) weight /= sum + 1e-20f;
    weight *= static_cast<float>(spec.scale);
  }
}

}  // namespace cachalot
