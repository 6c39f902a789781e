// Attention of CpuOps with one key and value per position and kv head, as Ops::attend has it.
#pragma once

#include "ops/cpu/attention.h"

namespace cachalot {

void attend_grouped(const AttendMachine& machine, const AttendCall& call, std::span<const AttendSpan> spans);

}  // namespace cachalot
