// States as rows of f32 in memory that the processor reads: of CpuOps and PlainOps.
#pragma once

#include "ops/ops.h"

namespace cachalot {

class RowStates final : public States {
 public:
  RowStates(std::span<const StateLayer> layers, int slots, const MemorySource& memory);

  int64_t bytes_per_slot() const override { return slot_bytes(layers_); }
  Tensor state(int layer, int slot, int chunk) const override;
  Tensor tail(int layer, int slot, int chunk) const override;

  // The verbs of Ops.
  void copy(int from, int to);
  void clear(int slot);
  void append_rows(int layer, const Batch& batch, const Tensor& x_TN);
  void set_state(int layer, int slot, int chunk, const Tensor& state_1N);

  static int64_t slot_bytes(std::span<const StateLayer> layers);

 private:
  float* numbers(int slot, int64_t offset) const;

  std::vector<StateLayer> layers_;
  std::vector<int64_t> first_number_;  // of each layer within a slot
  int slots_;
  std::shared_ptr<std::byte> memory_;
};

}  // namespace cachalot
