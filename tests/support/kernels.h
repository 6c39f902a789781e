// What kernel tests share: the tables that this processor runs, and a matrix product through a table's own packing.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/table.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

inline std::vector<const KernelTable*> usable_kernels() {
  std::vector<const KernelTable*> tables;
  for (const KernelTable* table : all_kernels())
    if (table->usable()) tables.push_back(table);
  return tables;
}

// N rows of K weights packed into panels, as the loader does it.
struct PackedMatrix {
  const MatmulKernel* kernel;
  int64_t N, K;
  std::vector<std::byte> bytes;

  int64_t panels() const { return (N + kernel->columns - 1) / kernel->columns; }
  const std::byte* panel(int64_t i) const { return bytes.data() + i * kernel->panel_bytes(K); }
  PanelSpan span() const { return {bytes.data(), kernel->panel_bytes(K), K, N}; }
  int used(int64_t i) const { return static_cast<int>(std::min<int64_t>(kernel->columns, N - i * kernel->columns)); }
};

inline PackedMatrix pack(const KernelTable& table, const MatmulKernel& kernel, const std::vector<float>& w_NK,
                         int64_t N, int64_t K) {
  PackedMatrix packed{&kernel, N, K, {}};
  const int64_t stride = kernel.units(K) * 4;
  std::vector<std::byte> stored(static_cast<size_t>(N * stride));  // odd rows of bf16 end in a zero half
  for (int64_t n = 0; n < N; ++n)
    for (int64_t k = 0; k < K; ++k) {
      const float value = w_NK[n * K + k];
      const uint16_t half = f32_to_bf16(value);
      if (kernel.weights == DType::f32) std::memcpy(&stored[n * stride + k * 4], &value, 4);
      if (kernel.weights == DType::bf16) std::memcpy(&stored[n * stride + k * 2], &half, 2);
    }
  packed.bytes.resize(static_cast<size_t>(packed.panels() * kernel.panel_bytes(K)));
  for (int64_t i = 0; i < packed.panels(); ++i)
    table.pack_panel(&stored[i * kernel.columns * stride], stride, packed.used(i), kernel.units(K), kernel.columns,
                     packed.bytes.data() + i * kernel.panel_bytes(K));
  return packed;
}

// Random e4m3 codes without NaN, [N][K], and a factor per row and block of 128; factors have few enough bits for
// their products with codes to be exact in f32.
struct CodedMatrix {
  int64_t N, K;
  std::vector<uint8_t> codes;
  std::vector<float> factors;

  CodedMatrix(int64_t rows, int64_t inputs, uint64_t seed) : N(rows), K(inputs) {
    Random random(seed);
    codes.resize(static_cast<size_t>(N * K));
    for (uint8_t& code : codes) do
        code = static_cast<uint8_t>(random.next());
      while ((code & 0x7f) == 0x7f);
    factors.resize(static_cast<size_t>(N * blocks()));
    for (float& factor : factors) factor = bf16_to_f32(f32_to_bf16(static_cast<float>(0.01 + random.uniform())));
  }
  int64_t blocks() const { return (K + 127) / 128; }
  std::vector<float> numbers() const {
    std::vector<float> w(codes.size());
    dequantize(DType::f8_e4m3, std::as_bytes(std::span(codes)), w);
    for (int64_t n = 0; n < N; ++n)
      for (int64_t k = 0; k < K; ++k) w[n * K + k] *= factors[n * blocks() + k / 128];
    return w;
  }
  PackedMatrix pack(const MatmulKernel& kernel) const {
    PackedMatrix packed{&kernel, N, K, {}};
    packed.bytes.resize(static_cast<size_t>(packed.panels() * kernel.panel_bytes(K)));
    for (int64_t i = 0; i < packed.panels(); ++i) {
      const int64_t row = i * kernel.columns;
      const PanelRows rows = {.w = codes.data() + row * K,
                              .w_stride_bytes = K,
                              .rows = packed.used(i),
                              .K = K,
                              .factors = factors.data() + row * blocks(),
                              .factor_stride = blocks()};
      kernel.pack(rows, packed.bytes.data() + i * kernel.panel_bytes(K));
    }
    return packed;
  }
};

// M rows of K inputs for the micro-kernel that takes them row by row, back to back.
inline std::vector<std::byte> prepare(const MatmulKernel& kernel, const std::vector<float>& x_MK, int64_t M,
                                      int64_t K) {
  std::vector<std::byte> prepared(static_cast<size_t>(M * kernel.input_bytes(K)));
  for (int64_t m = 0; m < M; ++m) kernel.by_row.prepare(&x_MK[m * K], K, prepared.data() + m * kernel.input_bytes(K));
  return prepared;
}

// The numbers that a row of prepared inputs, or of stored weights, really holds.
inline std::vector<float> rounded_to(DType type, std::vector<float> values) {
  if (type == DType::bf16)
    for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
  return values;
}

}  // namespace cachalot
