// What must be done however the process ends, and when signals may end it.
#pragma once

#include <csignal>

namespace cachalot {

// While one is alive, no signal that comes from outside is delivered to this thread, nor to the threads that it
// starts.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld();
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

// `path`, which must stay where it is, names a file that goes away when the process is ended before
// forget_unfinished(): by Ctrl-C, a hang-up, a broken pipe, abort() and their like, whose exit status stays what it
// is. At most 16 at a time.
void remember_unfinished(const char* path);
void forget_unfinished(const char* path);

// For signal handlers that end the process by other ways.
void remove_unfinished_files() noexcept;

}  // namespace cachalot
