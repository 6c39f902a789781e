// Attention of CpuOps with one key and value per position and kv head, as Ops::attend has it.
#pragma once

#include "ops/cpu/attention.h"

namespace cachalot {

struct GroupedCall {
  const CpuKvCache& cache;
  int layer;
  AttendSpec spec;
  Tensor q_THK, o_THV;
};

void attend_grouped(const AttendMachine& machine, const GroupedCall& call, std::span<const AttendSpan> spans);

}  // namespace cachalot
