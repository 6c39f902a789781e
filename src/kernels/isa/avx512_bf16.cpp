// AVX-512 with BF16 dot products: bf16 weights meet bf16 inputs, two products per lane and instruction.
#include <immintrin.h>

#include "kernels/isa/tables.h"

namespace cachalot {
namespace {
#include "kernels/simd/avx512.h"

#include "kernels/generic/kernels.h"

#include "kernels/simd/avx512_bf16.h"

constexpr KernelTable bf16_kernels() {
  KernelTable table = generic_kernels("avx512_bf16", cpu_runs_avx512_bf16);
  table.matmul_bf16.inputs = DType::bf16;
  table.matmul_bf16.prepare = prepare_bf16;
  table.matmul_bf16.tile = tile<Bf16Panels>;
  table.matmul_fp8.inputs = DType::bf16;
  table.matmul_fp8.prepare = prepare_bf16;
  table.matmul_fp8.tile = coded_tile<E4m3PairPanels>;
  table.matmul_fp8.pack = pack_coded<E4m3PairPanels>;
  table.matmul_quantised = quantised_kernels<VnniDot>();
  table.attention_bf16.tile = fold_tile<Bf16Panels>;
  table.bf16_loop = bf16_loop;
  table.byte_loop = byte_loop<VnniDot>;
  table.bf16_flops = 2 * kFmaFlops;
  return table;
}
}  // namespace

const KernelTable kAvx512Bf16Kernels = bf16_kernels();

}  // namespace cachalot
