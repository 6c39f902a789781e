// How far a download is, on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

namespace cachalot {

class TransferMeter {
 public:
  TransferMeter();
  ~TransferMeter() { finish(); }
  TransferMeter(const TransferMeter&) = delete;
  TransferMeter& operator=(const TransferMeter&) = delete;

  void update(int64_t done, int64_t total);
  void finish();  // takes the bar away; may be called again

 private:
  using Clock = std::chrono::steady_clock;
  std::string text(int64_t done, int64_t total) const;
  bool terminal_, drawn_ = false;
  Clock::time_point next_;
  std::deque<std::pair<Clock::time_point, int64_t>> heard_;  // of the last seconds
};

// "3:07", "2:05:09".
std::string duration_text(int64_t seconds);

}  // namespace cachalot
