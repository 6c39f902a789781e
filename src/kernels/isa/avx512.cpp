// AVX-512 F, BW, VL, DQ: bf16 weights are widened to f32.
#include "kernels/simd/avx512.h"

#include "kernels/generic/kernels.h"
#include "kernels/isa/tables.h"

namespace cachalot {

const KernelTable kAvx512Kernels = generic_kernels("avx512", cpu_runs_avx512);

}  // namespace cachalot
