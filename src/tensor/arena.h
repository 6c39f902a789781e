// Memory of one step: allocation moves a pointer, freeing moves it back. Blocks stay mapped from step to step, so a
// step touches warm pages. Only pointers are reckoned here: the memory is its Ops' own, and the host may not be able
// to read it. Not thread-safe; one per engine thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace cachalot {

// Where an Ops takes memory: so many bytes, aligned to 64 at least, given back when the last owner goes. Throws Error
// when there are none.
using MemorySource = std::function<std::shared_ptr<std::byte>(size_t bytes)>;
// Zeroed pages of this machine (PageBuffer).
std::shared_ptr<std::byte> host_memory(size_t bytes);

class Arena {
 public:
  explicit Arena(MemorySource source = host_memory) : source_(std::move(source)) {}

  struct Mark {
    size_t block = 0, offset = 0;
  };

  // Uninitialised memory, 64-byte aligned, valid until a rewind to an earlier mark.
  void* allocate(size_t bytes);

  // An uninitialised contiguous tensor, of f32 or of i32.
  template <typename... Sizes>
  Tensor tensor(Sizes... sizes) {
    return placed(tensor_view(nullptr, sizes...));
  }
  template <typename... Sizes>
  Tensor ids(Sizes... sizes) {
    Tensor t = tensor_view(nullptr, sizes...);
    t.dtype = DType::i32;
    return placed(t);
  }

  Mark mark() const { return {block_, offset_}; }
  void rewind(Mark mark) { block_ = mark.block, offset_ = mark.offset; }

  size_t reserved_bytes() const;

 private:
  Tensor placed(Tensor t) {
    t.memory = allocate(static_cast<size_t>(row_bytes(t.dtype, t.elements())));
    return t;
  }

  struct Block {
    std::shared_ptr<std::byte> memory;
    size_t bytes = 0;
  };
  MemorySource source_;
  std::vector<Block> blocks_;
  size_t block_ = 0, offset_ = 0;
};

}  // namespace cachalot
