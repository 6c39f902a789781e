#include "model/blocks/ffn.h"

namespace cachalot {

Tensor FfnSpec::forward(Ops& op, const Weights& w, const Tensor& x_TD, const StepContext& step) const {
  return forward(op, w, x_TD, step.prefix + "ffn.hidden");
}

Tensor FfnSpec::forward(Ops& op, const Weights& w, const Tensor& x_TD, const std::string& point) const {
  Tensor hidden_TF;
  if (form.gated) {
    const std::vector<Tensor> gate_and_up = op.linears(x_TD, {&w.gate, &w.up});
    hidden_TF = op.gated(gate_and_up[0], gate_and_up[1], form.activation);
  } else {
    hidden_TF = op.activate(op.linear(x_TD, w.up), form.activation);
  }
  op.mark(point, hidden_TF);
  return op.linear(hidden_TF, w.down);
}

void FfnSpec::list(Weights& w, ParameterVisitor& visit) const { list("ffn", w, visit); }

void FfnSpec::list(const std::string& slot, Weights& w, ParameterVisitor& visit) const {
  if (form.gated) visit.linear(slot + ".gate", w.gate, hidden, visit.width(), bias);
  visit.linear(slot + ".up", w.up, hidden, visit.width(), bias);
  visit.linear(slot + ".down", w.down, visit.width(), hidden, bias);
}

int64_t FfnSpec::row_numbers(int) const { return 3 * int64_t{hidden}; }

Description FfnSpec::describe(const LayerShare& share) const {
  return {.label = "feed-forward",
          .text = fmt::format("{} wide{}", hidden, share.layers < share.of ? share.text() : ""),
          .section = {},
          .numbers = {}};
}

}  // namespace cachalot
