#include "server/wakeup.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace cachalot {

static std::system_error lack_of_descriptors(int reason) {
  return {reason, std::generic_category(), "no descriptor to wait with"};
}

Wakeup::Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw lack_of_descriptors(errno);
}

// A set of descriptors is a descriptor itself.
Wakeup::Wakeup(std::span<const Wakeup* const> any) : fd_(epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) throw lack_of_descriptors(errno);
  for (const Wakeup* one : any) {
    epoll_event event{.events = EPOLLIN, .data = {}};
    if (epoll_ctl(fd_, EPOLL_CTL_ADD, one->fd(), &event) == 0) continue;
    const int reason = errno;
    close(fd_);
    throw lack_of_descriptors(reason);
  }
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
