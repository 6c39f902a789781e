// Feed-forward network: gated, y = W_down(act(W_gate x) * W_up x) (arXiv:2002.05202), or of two layers,
// y = W_down act(W_up x).
#pragma once

#include "model/blocks/block.h"

namespace cachalot {

// gate is empty unless the form is gated.
struct FfnWeights {
  Linear gate, up, down;
};

struct FfnSpec {
  using Weights = FfnWeights;

  int hidden = 0;  // F; 0 = there is none
  FfnForm form;
  bool bias = false;  // on all matrices

  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const;
  void list(Weights& w, ParameterVisitor& visit) const;
  int inner_width() const { return hidden; }
  int64_t row_numbers(int width) const;
  Description describe(const LayerShare& share) const;

  // As a part of another block: `point` names the marked point, `slot` is how the parameters' names begin.
  Tensor forward(Ops& op, const Weights& w, const Tensor& x_TD, const std::string& point) const;
  void list(const std::string& slot, Weights& w, ParameterVisitor& visit) const;
};

}  // namespace cachalot
