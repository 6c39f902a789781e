// An Ops that remembers every row of logits that the host has read, and is otherwise the one that it wraps: fused
// verbs, too, so the bits are the same.
#pragma once

#include <cstring>
#include <vector>

#include "ops/forwarding.h"

namespace cachalot::testing {

class LogitsSpy final : public ForwardingOps {
 public:
  using Row = std::vector<float>;
  LogitsSpy(Ops& inner, int vocab) : ForwardingOps(inner), vocab_(vocab) {}

  std::vector<Row>& rows() { return rows_; }

  std::vector<Tensor> linears(const Tensor& x, std::initializer_list<const Linear*> matrices) override {
    return inner().linears(x, matrices);
  }
  Tensor logits(const Tensor& hidden, const Linear& head) override { return inner().logits(hidden, head); }
  Tensor gated(const Tensor& gate, const Tensor& up, const Activation& form) override {
    return inner().gated(gate, up, form);
  }
  Tensor attend_latent(const Tensor& qn, const Tensor& qr, const LatentWeights& w, KvCache& cache, int layer,
                       const Batch& batch, const AttendSpec& spec) override {
    return inner().attend_latent(qn, qr, w, cache, layer, batch, spec);
  }
  Tensor experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override {
    return inner().experts(x, routing, w, form);
  }
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override {
    const auto numbers = inner().read(tensor, room);
    if (tensor.last() == vocab_)
      for (size_t i = 0; i < numbers.size(); i += static_cast<size_t>(vocab_))
        rows_.emplace_back(numbers.begin() + static_cast<ptrdiff_t>(i),
                           numbers.begin() + static_cast<ptrdiff_t>(i) + vocab_);
    return numbers;
  }

 private:
  int64_t vocab_;
  std::vector<Row> rows_;
};

}  // namespace cachalot::testing
