// How a mixture-of-experts layer chooses experts for a token, as data: the routers of DeepSeek-V2 and V3, Qwen-MoE
// and the plain softmax of the reports differ in these facts alone.
#pragma once

#include <cstdint>
#include <span>

namespace cachalot {

enum class GateScore { softmax /* over all experts */, sigmoid /* each expert by itself */ };
enum class GroupScore { best /* DeepSeek-V2 */, sum_of_best_two /* DeepSeek-V3 */ };

// In brackets: the values of DeepSeek-R1.
struct MoeGateSpec {
  int experts = 0;                            // E, routed experts [256]
  int active = 0;                             // A, experts used per token [8]
  int groups = 1;                             // the experts form this many equal groups [8] ...
  int active_groups = 1;                      // ... and only the best of those may be used [4]
  GateScore score = GateScore::softmax;       // [sigmoid]
  GroupScore group_score = GroupScore::best;  // [sum_of_best_two]
  bool normalised = false;                    // the chosen scores are divided by their sum [true]
  double scale = 1;                           // what the weights are multiplied by in the end [2.5]
};

// Chooses experts for one token.
//   logits_E      router outputs
//   correction_E  load-balancing bias, added to the scores for the choice and never to the weights; empty = none
//   expert_A      out: ids in [0, experts), best first; on a tie the lower id wins, among groups too
//   weight_A      out: mixing weights in the same order
// All in f32, as the references do. Experts of refused groups are out of the question, whatever the sign of the
// scores (DeepSeek's own code; transformers sets their scores to 0 instead, which a negative score could lose
// against). Never throws. CHECKs the span lengths and that the open groups hold at least A experts. NaN logits give
// some choice and NaN weights. Source: DeepSeek-V2, arXiv:2405.04434, section 2.2; DeepSeek-V3, arXiv:2412.19437,
// section 2.1.2.
void choose_experts(const MoeGateSpec& spec, std::span<const float> logits_E, std::span<const float> correction_E,
                    std::span<int32_t> expert_A, std::span<float> weight_A);

}  // namespace cachalot
