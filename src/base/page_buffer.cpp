#include "base/page_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/error.h"

namespace cachalot {

static constexpr size_t kHugePage = size_t{2} << 20;

PageBuffer::PageBuffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage;
  const size_t reserve = huge ? bytes + kHugePage : bytes;
  void* memory = ::mmap(nullptr, reserve, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    throw Error("cannot reserve " + std::to_string(bytes) + " bytes of memory").because(std::strerror(errno));
  auto* begin = static_cast<std::byte*>(memory);
  if (huge) {
    // Trim to an aligned range, so that whole huge pages fit.
    const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (skip > 0) ::munmap(begin, skip);
    begin += skip;
    const size_t used = (bytes + 4095) / 4096 * 4096;
    if (reserve - skip > used) ::munmap(begin + used, reserve - skip - used);
    ::madvise(begin, used, MADV_HUGEPAGE);
  }
  data_ = begin;
}

PageBuffer::~PageBuffer() {
  if (data_) ::munmap(data_, bytes_);
}

}  // namespace cachalot
