// Wakes a thread that waits for a socket at the same time: a descriptor that becomes readable.
#pragma once

#include <span>

namespace cachalot {

class Wakeup {
 public:
  // These throw std::system_error when the process has no descriptor left.
  Wakeup();
  // Woken while any of these is, which outlive it; by itself it is neither woken nor reset.
  explicit Wakeup(std::span<const Wakeup* const> any);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // From any thread, also a signal handler's. Several calls before reset() are one.
  void wake() const noexcept;
  void reset() const noexcept;
  int fd() const { return fd_; }  // readable while woken

 private:
  int fd_;
};

}  // namespace cachalot
