#include "base/ending.h"

#include <unistd.h>

#include <atomic>

#include "base/check.h"

namespace cachalot {

// What a broken instruction or address raises cannot wait.
SignalsHeld::SignalsHeld() {
  sigset_t held;
  sigfillset(&held);
  for (const int signal : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&held, signal);
  pthread_sigmask(SIG_BLOCK, &held, &before_);
}
SignalsHeld::~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

static std::atomic<const char*> unfinished[16];

void remove_unfinished_files() noexcept {
  for (auto& slot : unfinished)
    if (const char* path = slot.exchange(nullptr)) ::unlink(path);
}

static void on_ending_signal(int number) {
  remove_unfinished_files();
  std::signal(number, SIG_DFL);
  std::raise(number);  // delivered when this returns
}

// Leaves alone what is ignored (nohup) or handled otherwise (Interrupt).
static void hear_ending_signals() {
  struct sigaction ours = {}, known = {};
  ours.sa_handler = on_ending_signal;
  sigfillset(&ours.sa_mask);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGXCPU, SIGABRT})
    if (sigaction(number, nullptr, &known) == 0 && known.sa_handler == SIG_DFL) sigaction(number, &ours, nullptr);
}

void remember_unfinished(const char* path) {
  hear_ending_signals();
  for (auto& slot : unfinished) {
    const char* free = nullptr;
    if (slot.compare_exchange_strong(free, path)) return;
  }
  CHECK(false, "too many unfinished files");
}

void forget_unfinished(const char* path) {
  for (auto& slot : unfinished) {
    const char* ours = path;
    slot.compare_exchange_strong(ours, nullptr);
  }
}

}  // namespace cachalot
