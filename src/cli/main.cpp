// The program: does what its words say, and turns every failure into a message and an exit status.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "base/ending.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "hub/http_client.h"

namespace cachalot {
namespace {

constexpr int kFailed = 1;

// A stream that is closed gets a descriptor that can neither be read nor written; else the next file that is opened,
// perhaps the result, would be taken for it.
void hold_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0) open("/", O_PATH);
}

// Says what was thrown. Memory may be out, also for the saying.
void say_failure() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    say("cachalot: out of memory\n  hint: lower --context, or take a smaller model\n");
  } catch (const std::exception& error) {
    try {
      say(fmt::format("cachalot: {}\n", printable(error.what())));
    } catch (...) { say("cachalot: out of memory\n"); }
  } catch (...) { say("cachalot: failed for a reason that is not known\n"); }
}

// Where memory is so short that not even an exception can be made, or runs out before main(), there is nothing to
// catch.
[[noreturn]] void on_terminate() {
  bool out_of_memory = !std::current_exception();
  try {
    if (!out_of_memory) throw;
  } catch (const std::bad_alloc&) { out_of_memory = true; } catch (...) {
  }
  if (!out_of_memory) {
    say("cachalot: bug: something was thrown that nothing catches\n");
    std::abort();
  }
  remove_unfinished_files();
  say("cachalot: out of memory\n");
  _exit(kFailed);
}

// Before all other objects are made.
[[gnu::constructor(101)]] void hear_terminate() { std::set_terminate(on_terminate); }

int run_program(int argc, char** argv) noexcept {
  try {
    const int status = run_command_line(argc, argv);
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
    say("cachalot: the output could not be written\n");
  } catch (const Cancelled&) {
    note("the download is stopped; the same command goes on where it was");
    return kInterruptedStatus;
  } catch (...) {
    std::fflush(stdout);
    say_failure();
  }
  return kFailed;
}

}  // namespace
}  // namespace cachalot

int main(int argc, char** argv) {
  cachalot::hold_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may grow no further is an error like a full disk
  std::setlocale(LC_CTYPE, "");   // for line editing; numbers stay as in C
  return cachalot::run_program(argc, argv);
}
