// Mixture of experts of CpuOps: the rows of a step grouped by expert, so that each expert's weights are read once.
#pragma once

#include <functional>

#include "ops/cpu/weights.h"

namespace cachalot {

// (token, place among its experts) pairs in ascending order of expert, then of token.
struct ExpertGroups {
  struct Member {
    int token;
    float weight;
  };
  struct Group {
    int expert;
    int first, members;  // into `members`
  };
  std::vector<Member> members;
  std::vector<Group> groups;  // of the experts that somebody uses

  ExpertGroups(const Routing& routing, int64_t experts);
};

// y_TD += … of Ops::experts; y_TD is zeros on entry.
class ExpertRun {
 public:
  ExpertRun(const KernelTable& kernels, ThreadPool& pool, Arena& arena, const ExpertWeights& weights,
            const FfnForm& form)
      : kernels_(kernels), pool_(pool), arena_(arena), w_(weights), form_(form) {}

  void run(const Tensor& x_TD, const ExpertGroups& groups, const Tensor& y_TD);

 private:
  // Rows prepared for multiplication with w, group by group. row_of(member) must be called once for each.
  using Inputs = std::vector<const std::byte*>;  // of every group
  Inputs prepared(const ExpertGroups& groups, const Weight& w, const std::function<const float*(int)>& row_of);
  Inputs prepared_members(const Tensor& x_TD, const ExpertGroups& groups, const Weight& w);
  void multiply(const ExpertGroups& groups, const Linear& l, const Inputs& x, const Tensor& y_MF);
  Inputs prepared_hidden(const ExpertGroups& groups, const Tensor& gate_MF, const Tensor& up_MF);
  void add_outputs(const ExpertGroups& groups, const Inputs& hidden, const Tensor& y_TD);

  const KernelTable& kernels_;
  ThreadPool& pool_;
  Arena& arena_;
  const ExpertWeights& w_;
  const FfnForm& form_;
};

// act in place or from x to y, one row of n numbers.
void activate_row(const KernelTable& kernels, const Activation& form, const float* x, int64_t n, float* y);
// y = act(gate) * up; y may be gate or up.
void gated_row(const KernelTable& kernels, const Activation& form, const float* gate, const float* up, int64_t n,
               float* y);

}  // namespace cachalot
