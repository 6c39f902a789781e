// A decorator that learns how much each input of each matrix matters: while a model that was loaded through it reads
// calibration text, it keeps the mean square of what every matrix is multiplied with. A weight's error costs its
// square times that.
#pragma once

#include <unordered_map>

#include "convert/quantize.h"
#include "ops/forwarding.h"

namespace cachalot {

class ImportanceOps final : public ForwardingOps {
 public:
  // Borrows `inner` for its life.
  explicit ImportanceOps(Ops& inner) : ForwardingOps(inner) {}

  Weight load_matrix(const MatrixPart& part, DType held_as) override;
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override;
  Tensor linear(const Tensor& x_TD, const Linear& l) override;
  Tensor linear_per_head(const Tensor& x_THI, const Weight& w_HOI) override;

  // What was seen so far, under the checkpoint's names.
  Importance importance() const;

 private:
  struct Squares {
    std::vector<double> sum;  // per column
    int64_t rows = 0;
  };
  // The stored tensors that a weight was made of: one, one per matrix of a stack, or one that is the stack.
  struct Source {
    std::vector<std::string> names;
    int64_t matrices = 1;
    std::vector<Squares> seen;  // per matrix
  };
  void add_row(const Weight& w, int64_t matrix, std::span<const float> x);

  std::unordered_map<const Weight::Storage*, Source> sources_;
  std::vector<float> room_;
};

}  // namespace cachalot
