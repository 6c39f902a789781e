#include "tensor/arena.h"

#include <algorithm>
#include <cstring>

namespace cachalot {

static constexpr size_t kAlignment = 64;
static constexpr size_t kMinBlockBytes = size_t{8} << 20;

void* Arena::allocate(size_t bytes) {
  bytes = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  for (; block_ < blocks_.size(); ++block_, offset_ = 0) {
    if (offset_ + bytes > blocks_[block_].bytes) continue;
    void* memory = blocks_[block_].memory.data() + offset_;
    offset_ += bytes;
    return memory;
  }
  Block block;
  block.bytes = std::max(bytes, blocks_.empty() ? kMinBlockBytes : 2 * blocks_.back().bytes);
  block.memory = PageBuffer(block.bytes);
  blocks_.push_back(std::move(block));
  offset_ = bytes;
  return blocks_.back().memory.data();
}

Tensor Arena::keep_only(Mark mark, const Tensor& tensor) {
  CHECK(tensor.contiguous());
  const auto bytes = static_cast<size_t>(tensor.elements()) * sizeof(float);
  rewind(mark);
  Tensor kept = tensor;
  kept.data = static_cast<float*>(allocate(bytes));
  std::memmove(kept.data, tensor.data, bytes);
  return kept;
}

size_t Arena::reserved_bytes() const {
  size_t bytes = 0;
  for (const auto& block : blocks_) bytes += block.bytes;
  return bytes;
}

}  // namespace cachalot
