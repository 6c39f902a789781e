// Feed-forward network: gated, y = W_down(act(W_gate x) * W_up x) (arXiv:2002.05202), or of two layers,
// y = W_down act(W_up x).
#include "model/blocks.h"

namespace cachalot {

Tensor ffn(Ops& op, const FfnSpec& s, const FfnWeights& w, const Tensor& x_TD, const std::string& point) {
  Tensor hidden_TF;
  if (s.form.gated) {
    const std::vector<Tensor> gate_and_up = op.linears(x_TD, {&w.gate, &w.up});
    hidden_TF = op.gated(gate_and_up[0], gate_and_up[1], s.form.activation);
  } else {
    hidden_TF = op.activate(op.linear(x_TD, w.up), s.form.activation);
  }
  op.mark(point, hidden_TF);
  return op.linear(hidden_TF, w.down);
}

}  // namespace cachalot
