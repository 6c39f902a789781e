// A bar on stderr for work that takes over a second. Draws on a terminal only, and takes itself away at the end, so
// that logs and pipes never see it. One thread calls it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace cachalot {

class Progress {
 public:
  // `label` stands before the bar: "loading". Nothing is ever drawn when `enabled` is false.
  Progress(std::string label, bool enabled);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // done of total units; draws at most ten times a second.
  void update(int64_t done, int64_t total);
  // Removes the bar. May be called again.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  bool enabled_;
  bool drawn_ = false;
  Clock::time_point next_draw_;
};

// The text of a bar without the label: "[#######---------------------] 25 %". Exposed for its test.
std::string progress_bar(int64_t done, int64_t total);

}  // namespace cachalot
