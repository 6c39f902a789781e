// Mixture of experts: a router chooses a few experts per token, and shared experts serve every token.
#pragma once

#include "model/blocks/ffn.h"

namespace cachalot {

struct MoeWeights {
  Linear router;
  Weight correction_E;
  ExpertWeights experts;
  FfnWeights shared;
  Linear shared_gate;  // [1, D], no bias
};

struct MoeSpec {
  using Weights = MoeWeights;

  MoeGateSpec gate;
  bool router_bias = false;      // added to the router's logits
  bool correction_bias = false;  // added to the scores for the choice alone
  FfnSpec expert;
  FfnSpec shared;            // an expert that every token uses; its output is added unweighted ...
  bool shared_gate = false;  // ... or times a sigmoid of its own

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const;
  void list(Weights& w, ParameterVisitor& visit) const;
  int inner_width() const { return expert.hidden; }
  int64_t row_numbers(int width) const;
  Description describe(const LayerShare& share) const;
};

}  // namespace cachalot
