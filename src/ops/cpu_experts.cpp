#include "ops/cpu_experts.h"

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
  const auto expert_of = [&](int64_t t, int64_t a) { return static_cast<size_t>(routing.expert_TA.row(t)[a]); };
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

// The rows of x that each member is, prepared for multiplication with w.
std::byte* ExpertRun::prepared_members(const Tensor& x_TD, const ExpertGroups& groups, const Weight& w) {
  const MatmulKernel& kernel = matmul_kernel(kernels_, w.held_as);
  const int64_t inputs = x_TD.last(), bytes = kernel.input_bytes(inputs), members = std::ssize(groups.members);
  auto* x = static_cast<std::byte*>(arena_.allocate(static_cast<size_t>(members * bytes)));
  pool_.for_each_chunk(members, divide_up(16384, inputs), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m)
      kernel.prepare(x_TD.row(groups.members[static_cast<size_t>(m)].token), inputs, x + m * bytes);
  });
  return x;
}

// y[member] = w[expert] x[member] + bias[expert]
void ExpertRun::multiply(const ExpertGroups& groups, const Weight& w, const Weight& bias, const std::byte* x,
                         const Tensor& y_MF) {
  const MatmulKernel& kernel = matmul_kernel(kernels_, w.held_as);
  const int64_t outputs = w.shape[1], inputs = w.shape[2], bytes = kernel.input_bytes(inputs);
  const int64_t panels = divide_up(outputs, kernel.columns);
  const int64_t grain =
      divide_up(1 << 16, std::ssize(groups.members) / std::ssize(groups.groups) * inputs * kernel.columns);
  pool_.for_each_chunk(std::ssize(groups.groups) * panels, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ExpertGroups::Group& group = groups.groups[static_cast<size_t>(i / panels)];
      const int64_t p = i % panels, first = p * kernel.columns;
      const auto used = static_cast<int>(std::min<int64_t>(kernel.columns, outputs - first));
      float* y = y_MF.row(group.first) + first;
      kernel.tile(x + group.first * bytes, bytes, group.members,
                  panels_of(w, group.expert) + p * kernel.panel_bytes(inputs), inputs, used, y, outputs, false);
      if (!bias) continue;
      for (int m = 0; m < group.members; ++m)
        kernels_.add(y + m * outputs, vector_of(bias, group.expert) + first, used, y + m * outputs);
    }
  });
}

// The hidden rows, at the place of one of the two and prepared for the down-projection.
std::byte* ExpertRun::prepared_hidden(const Tensor& gate_MF, const Tensor& up_MF) {
  const MatmulKernel& kernel = matmul_kernel(kernels_, w_.down_EDF.held_as);
  const int64_t width = up_MF.last(), bytes = kernel.input_bytes(width);
  auto* hidden = static_cast<std::byte*>(arena_.allocate(static_cast<size_t>(up_MF.dim(0) * bytes)));
  pool_.for_each_chunk(up_MF.dim(0), divide_up(4096, width), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      float* row = form_.gated ? gate_MF.row(m) : up_MF.row(m);
      if (form_.gated)
        gated_row(kernels_, form_.activation, row, up_MF.row(m), width, row);
      else
        activate_row(kernels_, form_.activation, row, width, row);
      kernel.prepare(row, width, hidden + m * bytes);
    }
  });
  return hidden;
}

// A task has some columns of y and goes through the experts in ascending order.
void ExpertRun::add_outputs(const ExpertGroups& groups, const std::byte* hidden, const Tensor& y_TD) {
  const MatmulKernel& kernel = matmul_kernel(kernels_, w_.down_EDF.held_as);
  const int64_t outputs = w_.down_EDF.shape[1], inputs = w_.down_EDF.shape[2], bytes = kernel.input_bytes(inputs);
  int largest = 0;
  for (const auto& group : groups.groups) largest = std::max(largest, group.members);
  std::vector<float*> scratch;
  scratch.reserve(static_cast<size_t>(pool_.threads()));
  for (int i = 0; i < pool_.threads(); ++i) scratch.push_back(arena_.tensor(largest, kernel.columns).data);

  std::atomic<int64_t> next{0};
  const int64_t panels = divide_up(outputs, kernel.columns);
  pool_.run([&](int worker) {
    float* part = scratch[static_cast<size_t>(worker)];
    for (int64_t p; (p = next.fetch_add(1, std::memory_order_relaxed)) < panels;) {
      const int64_t first = p * kernel.columns;
      const auto used = static_cast<int>(std::min<int64_t>(kernel.columns, outputs - first));
      for (const auto& group : groups.groups) {
        kernel.tile(hidden + group.first * bytes, bytes, group.members,
                    panels_of(w_.down_EDF, group.expert) + p * kernel.panel_bytes(inputs), inputs, used, part,
                    kernel.columns, false);
        for (int m = 0; m < group.members; ++m) {
          const auto& member = groups.members[static_cast<size_t>(group.first) + static_cast<size_t>(m)];
          float* out = part + int64_t{m} * kernel.columns;
          if (w_.down_bias_ED) kernels_.add(out, vector_of(w_.down_bias_ED, group.expert) + first, used, out);
          kernels_.scale(out, used, member.weight);
          float* y = y_TD.row(member.token) + first;
          kernels_.add(y, out, used, y);
        }
      }
    }
  });
}

void ExpertRun::run(const Tensor& x_TD, const ExpertGroups& groups, const Tensor& y_TD) {
  const int64_t members = std::ssize(groups.members), hidden = w_.up_EFD.shape[1];
  if (members == 0) return;
  const Tensor up_MF = arena_.tensor(members, hidden),
               gate_MF = form_.gated ? arena_.tensor(members, hidden) : Tensor{};
  const std::byte* x = prepared_members(x_TD, groups, w_.up_EFD);
  multiply(groups, w_.up_EFD, w_.up_bias_EF, x, up_MF);
  if (form_.gated) {
    const bool alike = w_.gate_EFD.held_as == w_.up_EFD.held_as;
    multiply(groups, w_.gate_EFD, w_.gate_bias_EF, alike ? x : prepared_members(x_TD, groups, w_.gate_EFD), gate_MF);
  }
  add_outputs(groups, prepared_hidden(gate_MF, up_MF), y_TD);
}

}  // namespace cachalot
