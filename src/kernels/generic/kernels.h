// Everything generic and the table of it, with the primitives of the file of simd/ that was included before.
#pragma once

#include "kernels/generic/attention.h"
#include "kernels/generic/coded_matmul.h"
#include "kernels/generic/convert.h"
#include "kernels/generic/elementwise.h"
#include "kernels/generic/matmul.h"
#include "kernels/generic/norm.h"
#include "kernels/generic/pack.h"
#include "kernels/generic/probes.h"
#include "kernels/generic/quant_formats.h"
#include "kernels/generic/quant_matmul.h"
#include "kernels/generic/quant_pairs.h"
#include "kernels/generic/rope.h"
#include "kernels/generic/softmax.h"
#include "kernels/table.h"

namespace cachalot {
namespace {

static constexpr KernelTable generic_kernels(const char* isa, bool (*usable)() noexcept) {
  return {
      .isa = isa,
      .usable = usable,
      .matmul_f32 = {.weights = DType::f32,
                     .inputs = DType::f32,
                     .columns = kColumns,
                     .unit_inputs = 1,
                     .block_inputs = 1,
                     .by_row = {.prepare = prepare_f32, .multiply = tile<F32Panels>},
                     .pack = pack_plain<4>},
      .matmul_bf16 = {.weights = DType::bf16,
                      .inputs = DType::f32,
                      .columns = kColumns,
                      .unit_inputs = 2,
                      .block_inputs = 2,
                      .by_row = {.prepare = prepare_f32, .multiply = tile<WidenedBf16Panels>},
                      .pack = pack_plain<2>},
      .matmul_fp8 = {.weights = DType::f8_e4m3,
                     .inputs = DType::f32,
                     .columns = kCodedColumns,
                     .unit_inputs = 4,
                     .block_inputs = kBlockInputs,
                     .factor_bytes = 4,
                     .by_row = {.prepare = prepare_f32, .multiply = coded_tile<E4m3Panels>},
                     .pack = pack_coded<E4m3Panels>},
      .matmul_quantized = quantized_kernels<GenericDot>(),
      .attention_f32 = {.inputs = DType::f32,
                        .prepare = prepare_f32,
                        .multiply = multiply_panels<F32Panels>,
                        .values_of_keys = values_of_keys<1>},
      .attention_bf16 = {.inputs = DType::f32,
                         .prepare = prepare_f32,
                         .multiply = multiply_panels<WidenedBf16Panels>,
                         .values_of_keys = values_of_keys<2>},
      .coded_cache = {.decode_keys = decode_keys,
                      .decode_turning_keys = decode_turning_keys,
                      .decode_values = decode_values},
      .pack_panel = pack_panel,
      .bf16_to_f32 = bf16_to_f32,
      .f32_to_bf16 = f32_to_bf16,
      .rms_norm = rms_norm,
      .rope_halves = rope_halves,
      .rope_pairs = rope_pairs,
      .swiglu = swiglu,
      .silu = silu,
      .gelu = gelu,
      .multiply = multiply,
      .add = add,
      .scale = scale,
      .softmax_block = softmax_block,
      .read_bytes = read_bytes,
      .fma_loop = fma_loop,
      .bf16_loop = nullptr,
      .byte_loop = byte_loop<GenericDot>,
      .fma_flops = kFmaFlops,
      .bf16_flops = 0,
      .byte_ops = kByteOps,
  };
}

}  // namespace
}  // namespace cachalot
