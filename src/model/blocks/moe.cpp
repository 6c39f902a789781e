// Source: DeepSeekMoE, arXiv:2401.06066; the routers' variants: ops/moe_gate.h.
#include "model/blocks/moe.h"

namespace cachalot {

Tensor MoeSpec::forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const {
  const Tensor logits_TE = op.linear(x_TD, w.router);
  const Routing routing = op.route(logits_TE, w.correction_E, gate);
  op.mark(step.prefix + "moe.logits", logits_TE);
  op.mark(step.prefix + "moe.experts", routing.expert_TA);
  op.mark(step.prefix + "moe.weights", routing.weight_TA);
  const Tensor y_TD = op.experts(x_TD, routing, w.experts, expert.form);
  if (shared.hidden == 0) return y_TD;

  Tensor shared_TD = shared.forward(op, w.shared, x_TD, step.prefix + "moe.shared_hidden");
  if (shared_gate) shared_TD = op.scale_rows(shared_TD, op.sigmoid(op.linear(x_TD, w.shared_gate)));
  return op.add(y_TD, shared_TD);
}

void MoeSpec::list(Weights& w, ParameterVisitor& visit) const {
  const int64_t D = visit.width(), E = gate.experts, F = expert.hidden;
  const bool gated = expert.form.gated;
  // Gated experts are also stored as one stack: per expert the rows of gate, then of up.
  const auto in_gate_up = [&](int64_t first) -> std::optional<Parameter::Within> {
    if (!gated) return std::nullopt;
    return Parameter::Within{.slot = "experts.gate_up", .shape = {E, 2 * F, D}, .first = first};
  };
  const auto matrices = [&](const char* slot, Linear& l, int64_t rows, int64_t columns,
                            const std::optional<Parameter::Within>& within) {
    visit({.slot = slot, .stack = E, .used = gate.active, .rows = rows, .columns = columns, .within = within}, l.w);
  };
  const auto biases = [&](const char* slot, Linear& l, int64_t size) {
    visit({.slot = slot,
           .suffix = ".bias",
           .kind = Parameter::Kind::vector,
           .stack = E,
           .used = gate.active,
           .columns = size},
          l.bias);
  };

  visit.precise("moe.router", w.router.w, E, D);
  if (router_bias) visit.bias("moe.router", w.router.bias, E);
  if (correction_bias)
    visit({.slot = "moe.correction", .suffix = "", .kind = Parameter::Kind::vector, .columns = E}, w.correction_E);
  if (gated) matrices("experts.gate", w.experts.gate, F, D, in_gate_up(0));
  matrices("experts.up", w.experts.up, F, D, in_gate_up(F));
  matrices("experts.down", w.experts.down, D, F, {});
  if (expert.bias) {
    if (gated) biases("experts.gate", w.experts.gate, F);
    biases("experts.up", w.experts.up, F);
    biases("experts.down", w.experts.down, D);
  }
  if (shared.hidden > 0) shared.list("shared", w.shared, visit);
  if (shared_gate) visit.precise("shared.scale", w.shared_gate.w, 1, D);
}

int64_t MoeSpec::row_numbers(int width) const {
  return gate.active * (3 * int64_t{expert.hidden} + width) + 3 * int64_t{shared.hidden};
}

// DeepSeek's shared experts are held as one of their widths' sum; one with a gate of its own is one.
static int shared_experts(const MoeSpec& s) {
  if (s.shared.hidden == 0 || s.shared_gate || s.shared.hidden % s.expert.hidden != 0) return s.shared.hidden > 0;
  return s.shared.hidden / s.expert.hidden;
}

Description MoeSpec::describe(const LayerShare& share) const {
  const int together = shared_experts(*this);
  const std::string beside = together == 0                    ? ""
                             : shared.hidden == expert.hidden ? " and 1 shared,"
                             : together > 1                   ? fmt::format(" and {} shared,", together)
                                                              : fmt::format(" and 1 shared, {} wide,", shared.hidden);
  return {.label = "experts",
          .text = fmt::format("{} of {} per token, {} wide,{}{}", gate.active, gate.experts, expert.hidden, beside,
                              share.text()),
          .section = "experts",
          .numbers = {{"total", gate.experts},
                      {"active", gate.active},
                      {"shared", together},
                      {"width", expert.hidden},
                      {"shared_width", shared.hidden},
                      {"layers", share.layers}}};
}

}  // namespace cachalot
