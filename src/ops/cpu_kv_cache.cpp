#include "ops/cpu_kv_cache.h"

#include <cstring>

#include "tensor/quant_blocks.h"

namespace cachalot {

static int64_t panels(int64_t outputs, const MatmulKernel& kernel) {
  return (outputs + kernel.columns - 1) / kernel.columns;
}

int64_t CpuKvCache::key_bytes(const Layer& layer, const MatmulKernel& kernel) {
  return panels(kBlockTokens, kernel) * kernel.panel_bytes(layer.key_dim);
}
int64_t CpuKvCache::value_bytes(const Layer& layer, const MatmulKernel& kernel) {
  return panels(layer.value_dim, kernel) * kernel.panel_bytes(kBlockTokens);
}

CpuKvCache::CpuKvCache(const KvCacheSpec& spec, const KernelTable& kernels)
    : spec_(spec), kernels_(kernels), kernel_(spec.dtype == DType::f32 ? kernels.matmul_f32 : kernels.matmul_bf16) {
  CHECK(spec.dtype == DType::f32 || spec.dtype == DType::bf16);
  for (const Layer& layer : spec.layers) {
    Storage storage{.memory = {},
                    .key_bytes = key_bytes(layer, kernel_),
                    .value_bytes = value_bytes(layer, kernel_),
                    .block_bytes = 0};
    storage.block_bytes = layer.kv_heads * (storage.key_bytes + storage.value_bytes);
    const int blocks = spec.blocks_of_group[static_cast<size_t>(layer.group)];
    storage.memory = PageBuffer(static_cast<size_t>(storage.block_bytes * blocks));
    layers_.push_back(std::move(storage));
  }
}

int64_t CpuKvCache::bytes_per_block(int group) const {
  int64_t bytes = 0;
  for (size_t i = 0; i < layers_.size(); ++i)
    if (spec_.layers[i].group == group) bytes += layers_[i].block_bytes;
  return bytes;
}

std::byte* CpuKvCache::keys(int layer, int32_t block, int kv_head) const {
  const Storage& s = layers_[static_cast<size_t>(layer)];
  DCHECK(block >= 0 && (block + 1) * s.block_bytes <= static_cast<int64_t>(s.memory.bytes()));
  return s.memory.data() + block * s.block_bytes + kv_head * (s.key_bytes + s.value_bytes);
}
std::byte* CpuKvCache::values(int layer, int32_t block, int kv_head) const {
  return keys(layer, block, kv_head) + layers_[static_cast<size_t>(layer)].key_bytes;
}

void CpuKvCache::clear_block(int layer, int32_t block) const {
  std::memset(keys(layer, block, 0), 0, static_cast<size_t>(layers_[static_cast<size_t>(layer)].block_bytes));
}

// Number (k, output) of panels that hold `inputs` numbers k per output.
template <typename T>
static T& panel_cell(std::byte* panels, const MatmulKernel& kernel, int64_t inputs, int64_t k, int64_t output) {
  constexpr int64_t per_unit = 4 / sizeof(T);
  auto* panel = panels + output / kernel.columns * kernel.panel_bytes(inputs);
  return reinterpret_cast<T*>(
      panel)[(k / per_unit * kernel.columns + output % kernel.columns) * per_unit + k % per_unit];
}

void CpuKvCache::write(int layer, int32_t block, int kv_head, int slot, const float* key, const float* value) const {
  const Layer& shape = this->layer(layer);
  std::byte* k_panels = keys(layer, block, kv_head);
  std::byte* v_panels = values(layer, block, kv_head);
  if (spec_.dtype == DType::f32) {
    for (int d = 0; d < shape.key_dim; ++d) panel_cell<float>(k_panels, kernel_, shape.key_dim, d, slot) = key[d];
    for (int d = 0; d < shape.value_dim; ++d) panel_cell<float>(v_panels, kernel_, kBlockTokens, slot, d) = value[d];
  } else {
    for (int d = 0; d < shape.key_dim; ++d)
      panel_cell<uint16_t>(k_panels, kernel_, shape.key_dim, d, slot) = f32_to_bf16(key[d]);
    for (int d = 0; d < shape.value_dim; ++d)
      panel_cell<uint16_t>(v_panels, kernel_, kBlockTokens, slot, d) = f32_to_bf16(value[d]);
  }
}

}  // namespace cachalot
