// Mixture of experts: a router chooses a few experts per token, and shared experts serve every token.
// Source: DeepSeekMoE, arXiv:2401.06066; the routers' variants: ops/moe_gate.h.
#include "model/blocks.h"

namespace cachalot {

Tensor moe(Ops& op, const MoeSpec& s, const MoeWeights& w, const Tensor& x_TD, const StepContext& step) {
  const Tensor logits_TE = op.linear(x_TD, w.router);
  const Routing routing = op.route(logits_TE, w.correction_E, s.gate);
  op.mark(step.prefix + "moe.logits", logits_TE);
  op.mark(step.prefix + "moe.experts", routing.expert_TA);
  op.mark(step.prefix + "moe.weights", routing.weight_TA);
  const Tensor y_TD = op.experts(x_TD, routing, w.experts, s.expert.form);
  if (s.shared.hidden == 0) return y_TD;

  Tensor shared_TD = ffn(op, s.shared, w.shared, x_TD, step.prefix + "moe.shared_hidden");
  if (s.shared_gate) shared_TD = op.scale_rows(shared_TD, op.sigmoid(op.linear(x_TD, w.shared_gate)));
  return op.add(y_TD, shared_TD);
}

}  // namespace cachalot
