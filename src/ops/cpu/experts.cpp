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
  const MatmulKernel& kernel = matmul_kernel(kernels_, w.held_as);
  const int64_t inputs = w.shape[2];
  Inputs prepared;
  int64_t bytes = 0;
  prepared.offset.reserve(groups.groups.size());
  for (const auto& group : groups.groups) {
    prepared.offset.push_back(bytes);
    bytes += kernel.inputs_bytes(group.members, inputs);
  }
  prepared.x = static_cast<std::byte*>(arena_.allocate(static_cast<size_t>(bytes)));
  const int64_t per_group = divide_up(std::ssize(groups.members), std::ssize(groups.groups));
  pool_.for_each_chunk(
      std::ssize(groups.groups), divide_up(16384, per_group * inputs), [&](int64_t begin, int64_t end) {
        for (auto g = static_cast<size_t>(begin); g < static_cast<size_t>(end); ++g) {
          const auto& group = groups.groups[g];
          for (int m = 0; m < group.members; ++m)
            kernel.prepare_row(row_of(group.first + m), inputs, m, group.members, prepared.x + prepared.offset[g]);
        }
      });
  return prepared;
}

// The rows of x that each member is.
ExpertRun::Inputs ExpertRun::prepared_members(const Tensor& x_TD, const ExpertGroups& groups, const Weight& w) {
  return prepared(groups, w, [&](int m) { return x_TD.row(groups.members[static_cast<size_t>(m)].token); });
}

// y[member] = w[expert] x[member] + bias[expert]
void ExpertRun::multiply(const ExpertGroups& groups, const Linear& l, const Inputs& x, const Tensor& y_MF) {
  const Weight &w = l.w, &bias = l.bias;
  const MatmulKernel& kernel = matmul_kernel(kernels_, w.held_as);
  const int64_t outputs = w.shape[1], inputs = w.shape[2];
  const int64_t panels = divide_up(outputs, kernel.columns);
  const int64_t grain =
      divide_up(1 << 16, std::ssize(groups.members) / std::ssize(groups.groups) * inputs * kernel.columns);
  pool_.for_each_chunk(std::ssize(groups.groups) * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto g = static_cast<size_t>(i / panels);
      const ExpertGroups::Group& group = groups.groups[g];
      const int64_t p = i % panels, first = p * kernel.columns;
      const auto used = static_cast<int>(std::min<int64_t>(kernel.columns, outputs - first));
      float* y = y_MF.row(group.first) + first;
      kernel.multiply(x.of(g), group.members, panels_of(w, group.expert) + p * kernel.panel_bytes(inputs), inputs,
                      used, y, outputs);
      if (!bias) continue;
      for (int m = 0; m < group.members; ++m)
        kernels_.add(y + m * outputs, vector_of(bias, group.expert) + first, used, y + m * outputs);
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
  const MatmulKernel& kernel = matmul_kernel(kernels_, w_.down.w.held_as);
  const int64_t outputs = w_.down.w.shape[1], inputs = w_.down.w.shape[2];
  int largest = 0;
  for (const auto& group : groups.groups) largest = std::max(largest, group.members);
  std::vector<float*> scratch;
  scratch.reserve(static_cast<size_t>(pool_.threads()));
  for (int i = 0; i < pool_.threads(); ++i) scratch.push_back(arena_.tensor(largest, kernel.columns).data());

  std::atomic<int64_t> next{0};
  const int64_t panels = divide_up(outputs, kernel.columns);
  pool_.run([&](int worker) {
    float* part = scratch[static_cast<size_t>(worker)];
    for (int64_t p; (p = next.fetch_add(1, std::memory_order_relaxed)) < panels;) {
      const int64_t first = p * kernel.columns;
      const auto used = static_cast<int>(std::min<int64_t>(kernel.columns, outputs - first));
      for (size_t g = 0; g < groups.groups.size(); ++g) {
        const auto& group = groups.groups[g];
        kernel.multiply(hidden.of(g), group.members,
                        panels_of(w_.down.w, group.expert) + p * kernel.panel_bytes(inputs), inputs, used, part,
                        kernel.columns);
        for (int m = 0; m < group.members; ++m) {
          const auto& member = groups.members[static_cast<size_t>(group.first) + static_cast<size_t>(m)];
          float* out = part + int64_t{m} * kernel.columns;
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
