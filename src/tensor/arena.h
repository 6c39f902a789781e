// Memory of one step: allocation moves a pointer, freeing moves it back. Blocks stay mapped from step to step, so a
// step touches warm pages. Not thread-safe; one per engine thread.
#pragma once

#include <cstddef>
#include <vector>

#include "base/page_buffer.h"
#include "tensor/tensor.h"

namespace cachalot {

class Arena {
 public:
  struct Mark {
    size_t block = 0, offset = 0;
  };

  // Uninitialised memory, 64-byte aligned, valid until a rewind to an earlier mark.
  void* allocate(size_t bytes);

  // An uninitialised contiguous tensor.
  template <typename... Sizes>
  Tensor tensor(Sizes... sizes) {
    Tensor t = tensor_view(nullptr, sizes...);
    t.data = static_cast<float*>(allocate(static_cast<size_t>(t.elements()) * sizeof(float)));
    return t;
  }

  Mark mark() const { return {block_, offset_}; }
  void rewind(Mark mark) { block_ = mark.block, offset_ = mark.offset; }

  // Frees everything since `mark` but `tensor` (contiguous), whose numbers move to the start; returns its new place.
  Tensor keep_only(Mark mark, const Tensor& tensor);

  size_t reserved_bytes() const;

 private:
  struct Block {
    PageBuffer memory;
    size_t bytes = 0;
  };
  std::vector<Block> blocks_;
  size_t block_ = 0, offset_ = 0;
};

}  // namespace cachalot
