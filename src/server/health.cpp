#include "server/health.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace cachalot {

void Health::loading(std::string_view what, int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  what_ = what, done_ = done, total_ = total;
}

void Health::ready() {
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::loading) phase_ = Phase::ready;  // and not when a signal came first
}

void Health::drain() {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::draining;
}

std::optional<ApiError> Health::refusal() const {
  const std::lock_guard lock(mutex_);
  switch (phase_) {
    case Phase::loading:
      return ApiError{503, "The model is still being loaded.", "model_loading", {}, std::chrono::seconds(5)};
    case Phase::draining:
      return ApiError{
          503, "The server is ending and takes no new requests.", "draining", {}, std::chrono::seconds(5)};
    case Phase::ready: break;
  }
  return std::nullopt;
}

http::Response Health::answer() const {
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::ready) return {200, R"({"status":"ok"})"};
  nlohmann::ordered_json body = {{"status", phase_ == Phase::loading ? "loading model" : "draining"}};
  if (phase_ == Phase::loading) {
    body["progress"] = {{"what", what_}, {"done", done_}, {"total", total_}};
    if (total_ > 0) body["progress"]["share"] = static_cast<double>(done_) / static_cast<double>(total_);
  }
  http::Response response = {503, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  response.headers.add("Retry-After", "5");
  return response;
}

}  // namespace cachalot
