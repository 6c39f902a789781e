// Whether the server can do what it is there for. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "server/api_error.h"

namespace cachalot {

class Health {
 public:
  // While the model is loaded: "loading", 3 of 10 of whatever is counted.
  void loading(std::string_view what, int64_t done, int64_t total);
  // The model is there. Whoever then sees ready() sees everything that was written before.
  void ready();
  // The server ends: no new work.
  void drain();

  // Why nothing can be asked of the model now; none when it can.
  std::optional<ApiError> refusal() const;
  // Of /health and /health/ready: {"status": "ok"} or 503 and why.
  http::Response answer() const;

 private:
  enum class Phase { loading, ready, draining };
  mutable std::mutex mutex_;
  Phase phase_ = Phase::loading;
  std::string what_ = "starting";
  int64_t done_ = 0, total_ = 0;
};

}  // namespace cachalot
