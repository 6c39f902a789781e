// Sockets whose every wait ends: with news, when the time is over, or when the server ends.
#pragma once

#include <chrono>
#include <span>
#include <string_view>
#include <utility>

#include "server/wakeup.h"

namespace cachalot::http {

using Clock = std::chrono::steady_clock;

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }
  void reset();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// A client's socket, which does not block. `ending`, once woken, ends every wait.
class Socket {
 public:
  Socket(Descriptor fd, const Wakeup& ending, std::chrono::milliseconds write_time);

  enum class News { bytes, closed, reset, timeout, woken };
  struct Read {
    News news;
    std::string_view bytes;  // in `buffer`
  };
  // Something that the client sends, before `until`. Bytes that are here count more than `wakeup`.
  Read read(std::span<char> buffer, Clock::time_point until, const Wakeup* wakeup = nullptr);
  // All of it; `more` follows at once. Throws ClientGone.
  void write(std::string_view bytes, bool more = false);
  // Until the client has closed its end (closed), or `wakeup` is woken. What the client sends is left alone.
  News wait(const Wakeup& wakeup, Clock::time_point until);

  // Says that nothing more will be sent and waits for the client to hang up, so that it reads what it was told last:
  // a socket that is closed with unread bytes takes that back.
  void linger(Clock::time_point until);
  // Closing will be a reset: the client is to see that what it has got is not all.
  void reset_at_end();

 private:
  News wait_for(short events, const Wakeup* wakeup, Clock::time_point until);

  Descriptor fd_;
  const Wakeup& ending_;
  std::chrono::milliseconds write_time_;
};

}  // namespace cachalot::http
