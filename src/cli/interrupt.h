// Ctrl-C as a flag. A second Ctrl-C before reset() ends the program as usual, so that nothing can hang.
#pragma once

namespace cachalot {

// While one is alive, Ctrl-C sets the flag. At most one at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool requested() const;
  void reset();
};

// What a shell reports for a program that Ctrl-C ended.
constexpr int kInterruptedStatus = 130;

}  // namespace cachalot
