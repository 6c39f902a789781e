// The fused verbs of Ops, as the plain ones that they stand for. A test keeps every implementation's own to these.
#include <algorithm>

#include "ops/ops.h"

namespace cachalot {

Weight Weight::part(int64_t i) const {
  if (!storage) return {};
  CHECK(rank >= 2 && i >= 0 && i < shape[0]);
  Weight one = *this;
  one.rank = rank - 1;
  one.shape = {};
  std::copy(shape.begin() + 1, shape.begin() + rank, one.shape.begin());
  one.held_bytes = held_bytes / shape[0];
  one.first = first + i;
  return one;
}

std::vector<Tensor> Ops::linears(const Tensor& x_TD, std::initializer_list<const Linear*> matrices) {
  std::vector<Tensor> results;
  results.reserve(matrices.size());
  for (const Linear* l : matrices) results.push_back(linear(x_TD, *l));
  return results;
}

Tensor Ops::logits(const Tensor& hidden_TD, const Linear& head) { return linear(hidden_TD, head); }

Tensor Ops::gated(const Tensor& gate_TF, const Tensor& up_TF, const Activation& form) {
  return multiply(activate(gate_TF, form), up_TF);
}

// All rows in the absorbed form.
Tensor Ops::attend_latent(const Tensor& qn_THN, const Tensor& qr_THR, const LatentWeights& w, KvCache& cache,
                          int layer, const Batch& batch, const AttendSpec& spec) {
  const Tensor q_THL = concat(linear_per_head(qn_THN, w.k_up_HCN), qr_THR);
  const Tensor o_THC = attend(q_THL, cache, layer, batch, spec);
  return linear_per_head(o_THC, w.v_up_HVC);
}

namespace {

// The tokens of each expert that is used, in ascending order of its id: their rows, and where their weights are in
// the routing's weights as one column.
struct ExpertRows {
  std::vector<int32_t> tokens, places;
};

std::vector<ExpertRows> rows_by_expert(Ops& op, const Tensor& expert_TA, int64_t experts) {
  std::vector<float> room;
  const auto ids = op.read(expert_TA, room);
  std::vector<ExpertRows> rows(static_cast<size_t>(experts));
  for (size_t place = 0; place < ids.size(); ++place) {
    ExpertRows& own = rows[static_cast<size_t>(ids[place])];
    own.tokens.push_back(static_cast<int32_t>(place / static_cast<size_t>(expert_TA.last())));
    own.places.push_back(static_cast<int32_t>(place));
  }
  return rows;
}

}  // namespace

Tensor Ops::experts(const Tensor& x_TD, const Routing& routing, const ExpertWeights& w, const FfnForm& form) {
  const Tensor weight_column = routing.weight_TA.as_column();
  const std::vector<ExpertRows> rows = rows_by_expert(*this, routing.expert_TA, w.up.w.shape[0]);
  Tensor y_TD = zeros(x_TD.dim(0), x_TD.last());
  for (size_t e = 0; e < rows.size(); ++e) {
    if (rows[e].tokens.empty()) continue;
    const auto expert = static_cast<int64_t>(e);
    const Tensor x_MD = gather_rows(x_TD, rows[e].tokens);
    const Tensor up_MF = linear(x_MD, w.up.part(expert));
    const Tensor hidden_MF = form.gated ? gated(linear(x_MD, w.gate.part(expert)), up_MF, form.activation)
                                        : activate(up_MF, form.activation);
    const Tensor out_MD = linear(hidden_MF, w.down.part(expert));
    y_TD = scatter_add(y_TD, scale_rows(out_MD, gather_rows(weight_column, rows[e].places)), rows[e].tokens);
  }
  return y_TD;
}

}  // namespace cachalot
