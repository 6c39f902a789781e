// AMX with AVX-512: matrices meet in tiles.
#include "kernels/isa/tables.h"
#include "kernels/simd/avx512_amx_quant.h"

namespace cachalot {
namespace {

constexpr KernelTable amx_kernels() {
  KernelTable table = bf16_kernels("avx512_amx", cpu_runs_avx512_amx);
  table.matmul_bf16.block_inputs = kTileInputs;
  table.matmul_bf16.by_row.multiply = amx_tile;
  table.matmul_fp8.by_row.multiply = amx_fp8_tile;
  auto& [q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k] = table.matmul_quantized;
  q8_0 = with_tiles<ShortBlocks<8, 128, false>>(q8_0);
  q4_0 = with_tiles<ShortBlocks<4, 8, false>>(q4_0);
  q4_1 = with_tiles<ShortBlocks<4, 0, true>>(q4_1);
  q5_0 = with_tiles<ShortBlocks<5, 16, false>>(q5_0);
  q5_1 = with_tiles<ShortBlocks<5, 0, true>>(q5_1);
  q4_k = with_tiles<LongBlocks<4>>(q4_k);
  q5_k = with_tiles<LongBlocks<5>>(q5_k);
  q6_k = with_tiles<SixBitBlocks>(q6_k);
  table.attention_bf16.multiply = amx_multiply_panels;
  table.bf16_loop = amx_bf16_loop;
  table.byte_loop = amx_byte_loop;
  table.bf16_flops = kAmxBf16Flops;
  table.byte_ops = kAmxByteOps;
  return table;
}
}  // namespace

const KernelTable kAvx512AmxKernels = amx_kernels();

}  // namespace cachalot
