// A decorator that learns how much each input of each matrix matters: while a model that was loaded through it reads
// calibration text, it keeps the mean square of what every matrix is multiplied with. A weight's error costs its
// square times that.
#pragma once

#include <unordered_map>

#include "convert/quantize.h"
#include "ops/trace_ops.h"

namespace cachalot {

class ImportanceOps final : public TraceOps {
 public:
  // Borrows `inner` for its life.
  explicit ImportanceOps(Ops& inner) : TraceOps(inner, [](std::string_view, const Tensor&) {}) {}

  Weight load_matrix(const MatrixPart& part, DType held_as) override;
  Weight load_matrices(std::span<const MatrixPart> parts, DType held_as) override;
  Tensor linear(const Tensor& x, const Weight& w, const Weight& bias) override;
  Tensor logits(const Tensor& hidden, const Weight& w, const Weight& bias) override;
  Tensor experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override;

  // What was seen so far, under the checkpoint's names. Not of the matrices whose inputs exist only inside a verb:
  // the experts' output matrices, the up-projections of latents.
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
  void add_row(const Weight& w, int64_t matrix, const float* x, int64_t count);

  std::unordered_map<const Weight::Storage*, Source> sources_;
};

}  // namespace cachalot
