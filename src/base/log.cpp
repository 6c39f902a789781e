#include "base/log.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

namespace cachalot {

// A write to a broken pipe raises SIGPIPE in the thread that writes: held meanwhile, and taken back.
void say(std::string_view text) noexcept {
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  if (std::fwrite(text.data(), 1, text.size(), stderr) != text.size() && errno == EPIPE) {
    const timespec at_once = {};
    while (sigtimedwait(&pipe, nullptr, &at_once) < 0 && errno == EINTR) {}
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace cachalot
