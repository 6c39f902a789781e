// How many rows a step may have so that it takes no longer than stated: a step is what others wait for who want a
// token, to be admitted or to stop. Learns what a row takes from the steps that were made.
#pragma once

#include <algorithm>

namespace cachalot {

class RowBudget {
 public:
  // A step may always have so many rows: fewer take hardly less time, since a step reads all weights once.
  static constexpr int kLeastRows = 64;

  // Steps of any length where `seconds` is 0.
  explicit RowBudget(double seconds) : seconds_(seconds) {}

  void took(int rows, double seconds) {
    if (rows < kLeastRows || !(seconds > 0)) return;  // small steps say what weights take, not rows
    const double per_row = seconds / rows;
    per_row_ = per_row_ == 0 ? per_row : per_row_ + kNewest * (per_row - per_row_);
  }
  // Of the next step, `most` at most. As long as nothing is known, few.
  int rows(int most) const {
    if (seconds_ == 0) return most;
    const double rows = per_row_ == 0 ? kLeastRows : seconds_ / per_row_;
    return static_cast<int>(std::min<double>(most, std::max<double>(kLeastRows, rows)));
  }

 private:
  static constexpr double kNewest = 0.3;  // weight of the newest step

  double seconds_;
  double per_row_ = 0;  // the weights' share included; 0: not known
};

}  // namespace cachalot
