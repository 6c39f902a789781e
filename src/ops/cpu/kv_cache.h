// The paged cache of CpuOps. A block holds kBlockTokens positions of one layer, per kv head first the keys and then
// the values, both as the panels that the matrix kernels read: scores are q times a panel whose outputs are tokens,
// and the attention output is the probabilities times panels whose outputs are the value's components. So the pairs
// of a bf16 panel run along the head in keys and along the tokens in values.
//
// A q8_0 cache holds codes of 8 bits and scales, and is decoded to bf16 panels block by block. A token's codes depend
// on that token alone. Groups that share a scale:
//   keys     4 components: two neighbours and the two that lie half a head further, so that both components that RoPE
//            turns into each other are in one group, whichever way it pairs them. A bias that makes a few components
//            of every key tens of times larger than the others (Qwen2) turns within its own groups and costs the
//            others nothing. The scale has 8 bits.
//   latents  32 components; the rotary key in groups of 16 of its own
//   values   32 components; both have scales in bf16
#pragma once

#include "kernels/table.h"
#include "ops/ops.h"

namespace cachalot {

class CpuKvCache final : public KvCache {
 public:
  CpuKvCache(const KvCacheSpec& spec, const KernelTable& kernels, const MemorySource& memory);

  int64_t bytes_per_block(int group) const override;

  const Layer& layer(int i) const { return spec_.layers[static_cast<size_t>(i)]; }
  // The kernels of the panels that blocks are, or are decoded to.
  const MatmulKernel& kernel() const { return kernel_; }
  const AttentionKernel& attention() const {
    return spec_.dtype == DType::f32 ? kernels_.attention_f32 : kernels_.attention_bf16;
  }
  const KernelTable& kernels() const { return kernels_; }
  bool coded() const { return spec_.dtype == DType::q8_0; }
  bool segmented() const { return spec_.dtype != DType::f32; }  // see attention.h

  // Bytes of the panels of one block and kv head.
  int64_t key_panel_bytes(int layer) const;
  int64_t value_panel_bytes(int layer) const;
  // The panels: as they lie, or decoded into `room` of as many bytes (64-byte aligned; may be null unless coded).
  const std::byte* key_panels(int layer, int32_t block, int kv_head, std::byte* room) const;
  const std::byte* value_panels(int layer, int32_t block, int kv_head, std::byte* room) const;
  // Where the stored form lies.
  Prefetch stored_keys(int layer, int32_t block, int kv_head) const;
  Prefetch stored_values(int layer, int32_t block, int kv_head) const;

  void clear_block(int layer, int32_t block) const;
  // Writes one position (0 ≤ slot < kBlockTokens) of one kv head.
  void write(int layer, int32_t block, int kv_head, int slot, const float* key, const float* value) const;

  // Bytes of one block of one layer.
  static int64_t block_bytes(const Layer& layer, const KernelTable& kernels, DType dtype);

 private:
  std::byte* keys(int layer, int32_t block, int kv_head) const;
  std::byte* values(int layer, int32_t block, int kv_head) const;
  void write_codes(int layer, std::byte* keys, std::byte* values, int slot, const float* key,
                   const float* value) const;

  struct Storage {
    std::shared_ptr<std::byte> memory;
    int64_t key_bytes, value_bytes, block_bytes;
    std::vector<uint16_t> group_of_unit;  // of latents; coded only
  };
  KvCacheSpec spec_;
  const KernelTable& kernels_;
  const MatmulKernel& kernel_;
  std::vector<Storage> layers_;
};

}  // namespace cachalot
