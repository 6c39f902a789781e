// AVX-512 with BF16 dot products: bf16 weights meet bf16 inputs, two products per lane and instruction.
#include <immintrin.h>

#include "kernels/isa/tables.h"

namespace cachalot {
namespace {
#include "kernels/simd/avx512.h"

#include "kernels/generic/kernels.h"

#include "kernels/simd/avx512_bf16.h"
}  // namespace

const KernelTable kAvx512Bf16Kernels = bf16_kernels("avx512_bf16", cpu_runs_avx512_bf16);

}  // namespace cachalot
