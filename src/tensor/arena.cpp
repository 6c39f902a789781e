#include "tensor/arena.h"

#include <algorithm>

#include "base/page_buffer.h"

namespace cachalot {

static constexpr size_t kAlignment = 64;
static constexpr size_t kMinBlockBytes = size_t{8} << 20;

std::shared_ptr<std::byte> host_memory(size_t bytes) {
  auto pages = std::make_shared<PageBuffer>(bytes);
  std::byte* data = pages->data();
  return {std::move(pages), data};
}

void* Arena::allocate(size_t bytes) {
  bytes = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  for (; block_ < blocks_.size(); ++block_, offset_ = 0) {
    if (offset_ + bytes > blocks_[block_].bytes) continue;
    void* memory = blocks_[block_].memory.get() + offset_;
    offset_ += bytes;
    return memory;
  }
  Block block;
  block.bytes = std::max(bytes, blocks_.empty() ? kMinBlockBytes : 2 * blocks_.back().bytes);
  block.memory = source_(block.bytes);
  blocks_.push_back(std::move(block));
  offset_ = bytes;
  return blocks_.back().memory.get();
}

size_t Arena::reserved_bytes() const {
  size_t bytes = 0;
  for (const auto& block : blocks_) bytes += block.bytes;
  return bytes;
}

}  // namespace cachalot
