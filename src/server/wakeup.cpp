#include "server/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace cachalot {

Wakeup::Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw Error("no descriptor to wait with").because(std::strerror(errno));
}

Wakeup::~Wakeup() { close(fd_); }

void Wakeup::wake() const noexcept {
  const int saved = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);  // fails only when it is woken 2^64 - 2 times
  errno = saved;
}

void Wakeup::reset() const noexcept {
  uint64_t count = 0;
  [[maybe_unused]] const auto got = read(fd_, &count, sizeof count);
}

}  // namespace cachalot
