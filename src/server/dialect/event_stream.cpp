#include "server/dialect/event_stream.h"

#include <fmt/format.h>

#include <algorithm>

namespace cachalot::dialect {

static constexpr size_t kMostHeldBack = size_t{64} << 10;  // bytes of events

EventStream::EventStream(http::Exchange& exchange) : exchange_(exchange) {
  exchange_.begin({.content_type = "text/event-stream; charset=utf-8",
                   .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
}

void EventStream::add(std::string_view data) {
  buffer_ += fmt::format("data: {}\n\n", data);
  if (buffer_.size() >= kMostHeldBack) flush();
}

void EventStream::add(std::string_view event, std::string_view data) {
  buffer_ += fmt::format("event: {}\n", event);
  add(data);
}

void EventStream::comment(std::string_view text) { buffer_ += fmt::format(": {}\n\n", text); }

void EventStream::flush() {
  if (buffer_.empty()) return;
  exchange_.write(buffer_);
  buffer_.clear();
  told_ = std::chrono::steady_clock::now();
}

std::chrono::milliseconds EventStream::quiet_left() const {
  using std::chrono::milliseconds;
  const auto quiet = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - told_);
  return std::max(milliseconds(0), kQuiet - quiet);
}

}  // namespace cachalot::dialect
