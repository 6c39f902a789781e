// CpuOps: whole blocks of the cache, and states.
#include "ops/cpu/cpu_ops.h"
#include "ops/row_states.h"

namespace cachalot {

void CpuOps::copy_block(KvCache& cache, int group, int32_t from, int32_t to) {
  static_cast<CpuKvCache&>(cache).copy_block(group, from, to);
}

std::vector<std::byte> CpuOps::export_block(const KvCache& cache, int group, int32_t block) {
  return static_cast<const CpuKvCache&>(cache).export_block(group, block);
}

void CpuOps::import_block(KvCache& cache, int group, int32_t block, std::span<const std::byte> bytes) {
  static_cast<CpuKvCache&>(cache).import_block(group, block, bytes);
}

std::unique_ptr<States> CpuOps::make_states(std::span<const StateLayer> layers, int slots) {
  return std::make_unique<RowStates>(layers, slots, memory_);
}

int64_t CpuOps::state_slot_bytes(std::span<const StateLayer> layers) const { return RowStates::slot_bytes(layers); }

void CpuOps::copy_state(States& states, int from, int to) { static_cast<RowStates&>(states).copy(from, to); }

void CpuOps::clear_state(States& states, int slot) { static_cast<RowStates&>(states).clear(slot); }

void CpuOps::append_rows(States& states, int layer, const Batch& batch, const Tensor& x_TN) {
  static_cast<RowStates&>(states).append_rows(layer, batch, x_TN);
}

void CpuOps::set_state(States& states, int layer, int slot, int chunk, const Tensor& state_1N) {
  static_cast<RowStates&>(states).set_state(layer, slot, chunk, state_1N);
}

}  // namespace cachalot
