#include "cli/interrupt.h"

#include <csignal>

#include "base/ending.h"

namespace cachalot {

// A signal handler has nothing but a global to write to; the others are in base/ending.cpp and base/mapped_file.cpp.
static volatile std::sig_atomic_t requested_flag = 0;

static void on_interrupt(int) {
  if (requested_flag) {
    remove_unfinished_files();
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  requested_flag = 1;
}

Interrupt::Interrupt() {
  requested_flag = 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
}
Interrupt::~Interrupt() { std::signal(SIGINT, SIG_DFL); }

bool Interrupt::requested() const { return requested_flag != 0; }
void Interrupt::reset() { requested_flag = 0; }

}  // namespace cachalot
