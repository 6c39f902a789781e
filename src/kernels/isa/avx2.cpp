// AVX2 with FMA and F16C.
#include "kernels/simd/avx2.h"

#include "kernels/generic/kernels.h"
#include "kernels/isa/tables.h"

namespace cachalot {

const KernelTable kAvx2Kernels = generic_kernels("avx2", cpu_runs_avx2);

}  // namespace cachalot
