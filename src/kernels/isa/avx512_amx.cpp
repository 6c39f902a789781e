// AMX with AVX-512: matrices meet in tiles.
#include <immintrin.h>

#include "kernels/isa/tables.h"

namespace cachalot {
namespace {
#include "kernels/simd/avx512.h"

#include "kernels/generic/kernels.h"

#include "kernels/simd/avx512_bf16.h"

#include "kernels/simd/avx512_amx.h"

constexpr KernelTable amx_kernels() {
  KernelTable table = bf16_kernels("avx512_amx", cpu_runs_avx512_amx);
  table.matmul_bf16.block_inputs = kTileInputs;
  table.matmul_bf16.tile = amx_tile;
  table.matmul_fp8.tile = amx_fp8_tile;
  table.matmul_quantised = quantised_kernels<AmxDot>();
  table.attention_bf16.tile = amx_fold_tile;
  table.bf16_loop = amx_bf16_loop;
  table.byte_loop = amx_byte_loop;
  table.bf16_flops = kAmxBf16Flops;
  table.byte_ops = kAmxByteOps;
  return table;
}
}  // namespace

const KernelTable kAvx512AmxKernels = amx_kernels();

}  // namespace cachalot
