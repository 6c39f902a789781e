// A decorator that hands marked points to a sink.
#pragma once

#include <functional>

#include "ops/forwarding.h"

namespace cachalot {

class TraceOps : public ForwardingOps {
 public:
  // numbers: of the tensor, row after row; valid during the call.
  using Sink = std::function<void(std::string_view point, const Tensor& tensor, std::span<const float> numbers)>;
  // Borrows `inner` for its life.
  TraceOps(Ops& inner, Sink sink) : ForwardingOps(inner), sink_(std::move(sink)) {}

  void mark(std::string_view point, const Tensor& tensor) override {
    sink_(point, tensor, inner().read(tensor, room_));
  }

 private:
  Sink sink_;
  std::vector<float> room_;
};

}  // namespace cachalot
