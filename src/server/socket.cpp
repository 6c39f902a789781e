#include "server/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "server/http.h"

namespace cachalot::http {

void Descriptor::reset() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

template <typename Value>
static void set_option(int fd, int level, int name, Value value) {
  setsockopt(fd, level, name, &value, sizeof value);  // what is refused is done without
}

Socket::Socket(Descriptor fd, const Wakeup& ending, std::chrono::milliseconds write_time)
    : fd_(std::move(fd)), ending_(ending), write_time_(write_time) {
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  // A client whose machine has vanished is gone after this time, also while nothing is to be written.
  set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<unsigned>(write_time.count()));
}

// `bytes` stands for any news of the socket itself.
Socket::News Socket::wait_for(short events, const Wakeup* wakeup, Clock::time_point until) {
  std::array<pollfd, 3> fds = {
      {{fd_.get(), events, 0}, {ending_.fd(), POLLIN, 0}, {wakeup ? wakeup->fd() : -1, POLLIN, 0}}};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    const int ready = poll(fds.data(), fds.size(), static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30)));
    if (ready < 0 && errno != EINTR) return News::reset;
    if (ready > 0 && fds[1].revents) return News::reset;
    if (ready > 0 && fds[0].revents) return News::bytes;
    if (ready > 0) return News::woken;
    if (ready == 0 && Clock::now() >= until) return News::timeout;
  }
}

Socket::Read Socket::read(std::span<char> buffer, Clock::time_point until, const Wakeup* wakeup) {
  for (;;) {
    // Also for a client that always has more to send.
    if (Clock::now() >= until) return {News::timeout, {}};
    if (const News news = wait_for(POLLIN, wakeup, until); news != News::bytes) return {news, {}};
    const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) return {News::bytes, {buffer.data(), static_cast<size_t>(got)}};
    if (got == 0) return {News::closed, {}};
    if (errno != EINTR && errno != EAGAIN) return {News::reset, {}};
  }
}

void Socket::write(std::string_view bytes, bool more) {
  while (!bytes.empty()) {
    if (wait_for(POLLOUT, nullptr, Clock::now() + write_time_) != News::bytes) throw ClientGone();
    const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent >= 0)
      bytes.remove_prefix(static_cast<size_t>(sent));
    else if (errno != EINTR && errno != EAGAIN)
      throw ClientGone();
  }
}

Socket::News Socket::wait(const Wakeup& wakeup, Clock::time_point until) {
  const News news = wait_for(POLLRDHUP, &wakeup, until);
  return news == News::bytes ? News::closed : news;
}

void Socket::linger(Clock::time_point until) {
  shutdown(fd_.get(), SHUT_WR);
  std::array<char, 4096> ignored;
  while (read(ignored, until).news == News::bytes) {}
}

void Socket::reset_at_end() { set_option(fd_.get(), SOL_SOCKET, SO_LINGER, ::linger{1, 0}); }

}  // namespace cachalot::http
