// Gated feed-forward with SiLU: y = W_down(silu(W_gate x) * W_up x).  Source: arXiv:2002.05202.
#include "model/blocks.h"

namespace cachalot {

Tensor swiglu(Ops& op, const SwigluWeights& w, const Tensor& x_TD, const StepContext& step) {
  const Tensor gate_TF = op.linear(x_TD, w.gate.w, w.gate.bias);
  const Tensor up_TF = op.linear(x_TD, w.up.w, w.up.bias);
  const Tensor hidden_TF = op.swiglu(gate_TF, up_TF);
  op.mark(step.prefix + "ffn.hidden", hidden_TF);
  return op.linear(hidden_TF, w.down.w, w.down.bias);
}

}  // namespace cachalot
