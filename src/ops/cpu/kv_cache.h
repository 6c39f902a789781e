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
#include "ops/cpu/panels.h"
#include "ops/ops.h"

namespace cachalot {

class CpuKvCache final : public KvCache {
 public:
  CpuKvCache(const KvCacheSpec& spec, const KernelTable& kernels, const MemorySource& memory);

  int64_t bytes_per_block(int group) const override;

  const Layer& layer(int i) const { return spec_.layers[static_cast<size_t>(i)]; }
  // The kernel that multiplies with blocks, as they are or decoded.
  const AttentionKernel& attention() const {
    return spec_.dtype == DType::f32 ? kernels_.attention_f32 : kernels_.attention_bf16;
  }
  const KernelTable& kernels() const { return kernels_; }
  bool coded() const { return spec_.dtype == DType::q8_0; }
  bool split_kv() const { return spec_.dtype != DType::f32; }  // see attention.h

  // How a packed matrix lies that multiplies as blocks do.
  PanelLayout layout(int64_t outputs, int64_t inputs) const { return {&kernel_, outputs, inputs}; }
  // The keys and the values of one block and kv head as packed matrices: outputs are the tokens of keys, the
  // components of values.
  PanelLayout key_layout(int layer) const { return layout(kBlockTokens, this->layer(layer).key_dim); }
  PanelLayout value_layout(int layer) const { return layout(this->layer(layer).value_dim, kBlockTokens); }
  // They themselves: where they lie, or decoded into `room` of the same layout (used when coded() only).
  Panels keys(int layer, int32_t block, int kv_head, const WritablePanels& room) const;
  Panels values(int layer, int32_t block, int kv_head, const WritablePanels& room) const;
  // Where the stored form lies.
  Prefetch stored_keys(int layer, int32_t block, int kv_head) const;
  Prefetch stored_values(int layer, int32_t block, int kv_head) const;

  void clear_block(int layer, int32_t block);
  // Writes one position (0 ≤ slot < kBlockTokens) of one kv head.
  void write(int layer, int32_t block, int kv_head, int slot, const float* key, const float* value);

  // Ops::copy_block, export_block, import_block.
  void copy_block(int group, int32_t from, int32_t to);
  std::vector<std::byte> export_block(int group, int32_t block) const;
  void import_block(int group, int32_t block, std::span<const std::byte> bytes);

  // Bytes of one block of one layer.
  static int64_t block_bytes(const Layer& layer, const KernelTable& kernels, DType dtype);

 private:
  enum class Cell { f32, bf16, code, scale /* bf16 */, small_scale };
  // Calls visit(cell, where it lies) for the numbers of a block, whose memory is given, in canonical order.
  template <typename Byte, typename Visit>
  void visit_block(int layer, Byte* block, const Visit& visit) const;
  std::vector<int> layers_of(int group) const;

  // Of the memory of a layer, where those of a block and kv head begin.
  int64_t key_offset(int layer, int32_t block, int kv_head) const;
  int64_t value_offset(int layer, int32_t block, int kv_head) const;
  const std::byte* memory(int layer) const { return layers_[static_cast<size_t>(layer)].memory.get(); }
  std::byte* memory(int layer) { return layers_[static_cast<size_t>(layer)].memory.get(); }
  void write_codes(int layer, std::byte* keys, std::byte* values, int slot, const float* key, const float* value);

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
