// AVX-512 with BF16 dot products: bf16 weights meet bf16 inputs, two products per lane and instruction.
#include "kernels/simd/avx512_bf16.h"
#include "kernels/isa/tables.h"

namespace cachalot {

const KernelTable kAvx512Bf16Kernels = bf16_kernels("avx512_bf16", cpu_runs_avx512_bf16);

}  // namespace cachalot
