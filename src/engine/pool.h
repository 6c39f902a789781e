// Makes one vector of a prompt's rows as they come, however the prompt was cut: the last row, the first one, or the
// mean of all, which is their sum in f64, in the order of positions, divided by their number and rounded once.
#pragma once

#include <span>
#include <vector>

#include "engine/request.h"

namespace cachalot {

class Pool {
 public:
  Pool(Pooling pooling, int prompt_tokens)
      : next_(pooling == Pooling::last ? prompt_tokens - 1 : 0),
        end_(pooling == Pooling::first ? 1 : prompt_tokens) {}

  // The positions whose rows it still takes, in this order.
  PositionSpan wanted() const { return {next_, end_}; }
  // The row of the first of them.
  void take(std::span<const float> row_D) {
    sum_D_.resize(row_D.size());
    for (size_t i = 0; i < row_D.size(); ++i) sum_D_[i] += row_D[i];
    ++next_;
    ++taken_;
  }
  // When all are taken.
  std::vector<float> vector() const {
    std::vector<float> vector_D(sum_D_.size());
    for (size_t i = 0; i < vector_D.size(); ++i) vector_D[i] = static_cast<float>(sum_D_[i] / taken_);
    return vector_D;
  }

 private:
  int next_, end_, taken_ = 0;
  std::vector<double> sum_D_;
};

}  // namespace cachalot
