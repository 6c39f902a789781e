#include "ops/cpu/experts.h"

#include <algorithm>
#include <atomic>

namespace cachalot {

void activate_row(const KernelTable& kernels, const Activation& form, const float* x, int64_t n, float* y) {
  if (form.form == Activation::Form::gelu)
    kernels.gelu(x, n, y);
  else
    kernels.silu(x, static_cast<float>(form.beta), n, y);
}

void gated_row(const KernelTable& kernels, const Activation& form, const float* gate, const float* up, int64_t n,
               float* y) {
  if (form.form == Activation::Form::silu && form.beta == 1) {
    kernels.swiglu(gate, up, n, y);
    return;
  }
  CHECK(y != up, "the activation would overwrite what it is multiplied by");
  activate_row(kernels, form, gate, n, y);
  kernels.multiply(y, up, n, y);
}

ExpertGroups::ExpertGroups(const Routing& routing, int64_t experts) {
  const int64_t tokens = routing.expert_TA.dim(0), active = routing.expert_TA.last();
  const auto expert_of = [&](int64_t t, int64_t a) { return static_cast<size_t>(routing.expert_TA.ids(t)[a]); };
  std::vector<int> first(static_cast<size_t>(experts) + 1, 0);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t a = 0; a < active; ++a) ++first[expert_of(t, a) + 1];
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) {
    if (first[e + 1] > 0) groups.push_back({static_cast<int>(e), first[e], first[e + 1]});
    first[e + 1] += first[e];
  }
  members.resize(static_cast<size_t>(tokens * active));
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t a = 0; a < active; ++a)
      members[static_cast<size_t>(first[expert_of(t, a)]++)] = {static_cast<int>(t), routing.weight_TA.row(t)[a]};
}

ExpertRun::Inputs ExpertRun::prepared(const ExpertGroups& groups, const Weight& w,
                                      const std::function<const float*(int)>& row_of) {
  const MatmulKernel& kernel = *panels_of(w).layout().kernel;
  const int64_t inputs = w.shape[2];
  std::vector<std::byte*> x;
  x.reserve(groups.groups.size());
  for (const auto& group : groups.groups)
    x.push_back(allocate_bytes(arena_, kernel.inputs_bytes(group.members, inputs)));
  const int64_t per_group = divide_up(std::ssize(groups.members), std::ssize(groups.groups));
  pool_.for_each_chunk(std::ssize(groups.groups), divide_up(16384, per_group * inputs),
                       [&](int64_t begin, int64_t end) {
                         for (auto g = static_cast<size_t>(begin); g < static_cast<size_t>(end); ++g) {
                           const auto& group = groups.groups[g];
                           for (int m = 0; m < group.members; ++m)
                             kernel.prepare(row_of(group.first + m), inputs, m, group.members, x[g]);
                         }
                       });
  return {x.begin(), x.end()};
}

// The rows of x that each member is.
ExpertRun::Inputs ExpertRun::prepared_members(const Tensor& x_TD, const ExpertGroups& groups, const Weight& w) {
  return prepared(groups, w, [&](int m) { return x_TD.row(groups.members[static_cast<size_t>(m)].token); });
}

// y[member] = w[expert] x[member] + bias[expert]
void ExpertRun::multiply(const ExpertGroups& groups, const Linear& l, const Inputs& x, const Tensor& y_MF) {
  const Weight &w = l.w, &bias = l.bias;
  const PanelLayout layout = panels_of(w).layout();
  const int64_t panels = layout.panels(), outputs = layout.outputs;
  const int64_t rows_per_group = std::ssize(groups.members) / std::ssize(groups.groups);
  const int64_t grain = divide_up(1 << 16, rows_per_group * layout.inputs * layout.columns());
  pool_.for_each_chunk(std::ssize(groups.groups) * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto g = static_cast<size_t>(i / panels);
      const ExpertGroups::Group& group = groups.groups[g];
      const int64_t p = i % panels, first = layout.first_output(p);
      const Panels part = panels_of(w, group.expert).part(p, p + 1);
      float* y = y_MF.row(group.first) + first;
      part.multiply(x[g], group.members, y, outputs);
      if (!bias) continue;
      for (int m = 0; m < group.members; ++m)
        kernels_.add(y + m * outputs, vector_of(bias, group.expert) + first, part.layout().outputs, y + m * outputs);
    }
  });
}

// The hidden rows, at the place of one of the two and prepared for the down-projection.
ExpertRun::Inputs ExpertRun::prepared_hidden(const ExpertGroups& groups, const Tensor& gate_MF, const Tensor& up_MF) {
  const int64_t width = up_MF.last();
  return prepared(groups, w_.down.w, [&](int m) {
    float* row = form_.gated ? gate_MF.row(m) : up_MF.row(m);
    if (form_.gated)
      gated_row(kernels_, form_.activation, row, up_MF.row(m), width, row);
    else
      activate_row(kernels_, form_.activation, row, width, row);
    return row;
  });
}

// A task has some columns of y and goes through the experts in ascending order.
void ExpertRun::add_outputs(const ExpertGroups& groups, const Inputs& hidden, const Tensor& y_TD) {
  const PanelLayout layout = panels_of(w_.down.w).layout();
  int largest = 0;
  for (const auto& group : groups.groups) largest = std::max(largest, group.members);
  std::vector<float*> scratch;
  scratch.reserve(static_cast<size_t>(pool_.threads()));
  for (int i = 0; i < pool_.threads(); ++i) scratch.push_back(arena_.tensor(largest, layout.columns()).data());

  std::atomic<int64_t> next{0};
  pool_.run([&](int worker) {
    float* part = scratch[static_cast<size_t>(worker)];
    for (int64_t p; (p = next.fetch_add(1, std::memory_order_relaxed)) < layout.panels();) {
      const int64_t first = layout.first_output(p), used = layout.outputs_of(p, p + 1);
      for (size_t g = 0; g < groups.groups.size(); ++g) {
        const auto& group = groups.groups[g];
        panels_of(w_.down.w, group.expert).part(p, p + 1).multiply(hidden[g], group.members, part, layout.columns());
        for (int m = 0; m < group.members; ++m) {
          const auto& member = groups.members[static_cast<size_t>(group.first) + static_cast<size_t>(m)];
          float* out = part + m * layout.columns();
          if (w_.down.bias) kernels_.add(out, vector_of(w_.down.bias, group.expert) + first, used, out);
          kernels_.scale(out, used, member.weight);
          float* y = y_TD.row(member.token) + first;
          kernels_.add(y, out, used, y);
        }
      }
    }
  });
}

void ExpertRun::run(const Tensor& x_TD, const ExpertGroups& groups, const Tensor& y_TD) {
  const int64_t members = std::ssize(groups.members), hidden = w_.up.w.shape[1];
  if (members == 0) return;
  const Tensor up_MF = arena_.tensor(members, hidden),
               gate_MF = form_.gated ? arena_.tensor(members, hidden) : Tensor{};
  const Inputs x = prepared_members(x_TD, groups, w_.up.w);
  multiply(groups, w_.up, x, up_MF);
  if (form_.gated) {
    const bool alike = w_.gate.w.held_as == w_.up.w.held_as;
    multiply(groups, w_.gate, alike ? x : prepared_members(x_TD, groups, w_.gate.w), gate_MF);
  }
  add_outputs(groups, prepared_hidden(groups, gate_MF, up_MF), y_TD);
}

}  // namespace cachalot
