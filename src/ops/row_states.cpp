#include "ops/row_states.h"

#include <algorithm>

namespace cachalot {

// Of a layer's numbers in a slot, first the two states, then the rows of two chunks.
static int64_t numbers_of(const StateLayer& layer) {
  return 2 * (layer.state_numbers + kBlockTokens * layer.tail_numbers);
}

int64_t RowStates::slot_bytes(std::span<const StateLayer> layers) {
  int64_t numbers = 0;
  for (const StateLayer& layer : layers) numbers += numbers_of(layer);
  return numbers * int64_t{sizeof(float)};
}

RowStates::RowStates(std::span<const StateLayer> layers, int slots, const MemorySource& memory)
    : layers_(layers.begin(), layers.end()), slots_(slots) {
  int64_t first = 0;
  for (const StateLayer& layer : layers_) {
    first_number_.push_back(first);
    first += numbers_of(layer);
  }
  memory_ = memory(static_cast<size_t>(slots * bytes_per_slot()));
}

float* RowStates::numbers(int slot, int64_t offset) const {
  CHECK(slot >= 0 && slot < slots_, "slot {} of {}", slot, slots_);
  return reinterpret_cast<float*>(memory_.get() + slot * bytes_per_slot()) + offset;
}

Tensor RowStates::state(int layer, int slot, int chunk) const {
  const auto i = static_cast<size_t>(layer);
  const int64_t size = layers_[i].state_numbers;
  return tensor_view(numbers(slot, first_number_[i] + chunk % 2 * size), 1, size);
}

Tensor RowStates::tail(int layer, int slot, int chunk) const {
  const auto i = static_cast<size_t>(layer);
  const int64_t size = kBlockTokens * layers_[i].tail_numbers;
  return tensor_view(numbers(slot, first_number_[i] + 2 * layers_[i].state_numbers + chunk % 2 * size), kBlockTokens,
                     layers_[i].tail_numbers);
}

void RowStates::copy(int from, int to) {
  if (from == to) return;
  std::copy_n(numbers(from, 0), bytes_per_slot() / int64_t{sizeof(float)}, numbers(to, 0));
}

void RowStates::clear(int slot) { std::fill_n(numbers(slot, 0), bytes_per_slot() / int64_t{sizeof(float)}, 0.0f); }

void RowStates::append_rows(int layer, const Batch& batch, const Tensor& x_TN) {
  CHECK(x_TN.last() == layers_[static_cast<size_t>(layer)].tail_numbers && x_TN.dim(0) == batch.rows());
  for (const BatchSequence& s : batch.sequences)
    for (int r = 0; r < s.rows; ++r) {
      const int position = s.first_position + r;
      const Tensor rows = tail(layer, s.state_slot, position / kBlockTokens);
      std::copy_n(x_TN.row(s.first_row + r), x_TN.last(), rows.row(position % kBlockTokens));
    }
}

void RowStates::set_state(int layer, int slot, int chunk, const Tensor& state_1N) {
  const Tensor place = state(layer, slot, chunk);
  CHECK(state_1N.rows() == 1 && state_1N.last() == place.last());
  std::copy_n(state_1N.row(0), place.last(), place.row(0));
}

}  // namespace cachalot
