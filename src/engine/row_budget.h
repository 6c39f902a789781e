// How many rows a step may have so that it takes no longer than stated: a step is what others wait for who want a
// token, to be admitted or to stop. Learns what a row takes from the steps that were made.
#pragma once

#include <algorithm>

namespace cachalot {

class RowBudget {
 public:
  // A step may have so many rows where reading the weights is what takes the time: fewer take hardly less.
  static constexpr int kLeastRows = 64;
  // A step may always have so many: behind a long history each row takes its time.
  static constexpr int kFewestRows = 16;

  // Steps of any length where `seconds` is 0.
  explicit RowBudget(double seconds) : seconds_(seconds) {}

  void took(int rows, double seconds) {
    if (!(seconds > 0)) return;
    if (rows < kFewestRows)
      learn(few_, seconds);
    else if (rows >= std::min(kLeastRows, this->rows(kLeastRows)))  // smaller ones say what weights take, not rows
      learn(per_row_, seconds / rows);
  }
  // Of the next step, `most` at most. As long as nothing is known, few.
  int rows(int most) const {
    if (seconds_ == 0) return most;
    const double rows = per_row_ == 0 ? kLeastRows : seconds_ / per_row_;
    const bool weights_take_it = few_ == 0 || few_ > seconds_ / 2;
    return static_cast<int>(
        std::min<double>(most, std::max<double>(weights_take_it ? kLeastRows : kFewestRows, rows)));
  }

 private:
  static void learn(double& mean, double seconds) { mean = mean == 0 ? seconds : mean + kNewest * (seconds - mean); }

  static constexpr double kNewest = 0.3;  // weight of the newest step

  double seconds_;
  double per_row_ = 0;  // the weights' share included; 0: not known
  double few_ = 0;      // what a step of few rows takes; 0: not known
};

}  // namespace cachalot
