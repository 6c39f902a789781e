// Feed-forward network: gated, y = W_down(act(W_gate x) * W_up x) (arXiv:2002.05202), or of two layers,
// y = W_down act(W_up x).
#include "model/blocks.h"

namespace cachalot {

Tensor ffn(Ops& op, const FfnSpec& s, const FfnWeights& w, const Tensor& x_TD, const std::string& point) {
  const Tensor up_TF = op.linear(x_TD, w.up.w, w.up.bias);
  const Tensor hidden_TF = s.form.gated ? op.gated(op.linear(x_TD, w.gate.w, w.gate.bias), up_TF, s.form.activation)
                                        : op.activate(up_TF, s.form.activation);
  op.mark(point, hidden_TF);
  return op.linear(hidden_TF, w.down.w, w.down.bias);
}

}  // namespace cachalot
