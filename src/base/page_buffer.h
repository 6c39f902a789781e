// Anonymous zeroed memory straight from the system, for weights and caches: huge pages where the system grants them,
// storage committed page by page when first touched. Owns; moves, never copies.
#pragma once

#include <cstddef>
#include <utility>

namespace cachalot {

class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes);  // throws Error when the address space is not to be had
  ~PageBuffer();
  PageBuffer(PageBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;  // 2 MiB aligned when at least that large, else 4 KiB
  size_t bytes_ = 0;
};

}  // namespace cachalot
