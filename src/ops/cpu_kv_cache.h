// The paged cache of CpuOps. A block holds kBlockTokens positions of one layer, per kv head first the keys and then
// the values, both as the panels that the matrix kernels read: scores are q times a panel whose outputs are tokens,
// and the attention output is the probabilities times panels whose outputs are the value's components. So the pairs
// of a bf16 panel run along the head in keys and along the tokens in values.
#pragma once

#include "base/page_buffer.h"
#include "kernels/table.h"
#include "ops/ops.h"

namespace cachalot {

class CpuKvCache final : public KvCache {
 public:
  CpuKvCache(const KvCacheSpec& spec, const KernelTable& kernels);

  int64_t bytes_per_block(int group) const override;

  const Layer& layer(int i) const { return spec_.layers[static_cast<size_t>(i)]; }
  const MatmulKernel& kernel() const { return kernel_; }
  const KernelTable& kernels() const { return kernels_; }

  std::byte* keys(int layer, int32_t block, int kv_head) const;
  std::byte* values(int layer, int32_t block, int kv_head) const;
  void clear_block(int layer, int32_t block) const;
  // Writes one position (0 ≤ slot < kBlockTokens) of one kv head.
  void write(int layer, int32_t block, int kv_head, int slot, const float* key, const float* value) const;

  static int64_t key_bytes(const Layer& layer, const MatmulKernel& kernel);
  static int64_t value_bytes(const Layer& layer, const MatmulKernel& kernel);

 private:
  struct Storage {
    PageBuffer memory;
    int64_t key_bytes, value_bytes, block_bytes;
  };
  KvCacheSpec spec_;
  const KernelTable& kernels_;
  const MatmulKernel& kernel_;
  std::vector<Storage> layers_;
};

}  // namespace cachalot
