// Server-sent events on their way to a client.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "server/http.h"

namespace cachalot::dialect {

// While nothing can be said, something says that somebody is there: clients give up on a silent connection.
constexpr std::chrono::milliseconds kQuiet{8'000};

class EventStream {
 public:
  // Sends the headers. Everything here throws http::ClientGone.
  explicit EventStream(http::Exchange& exchange);

  // An event that has no name, or one. `data` is of one line.
  void add(std::string_view data);
  void add(std::string_view event, std::string_view data);
  // What clients do not see.
  void comment(std::string_view text);
  // Sends what was added.
  void flush();
  // How long nothing may be sent from now on.
  std::chrono::milliseconds quiet_left() const;

 private:
  http::Exchange& exchange_;
  std::string buffer_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

}  // namespace cachalot::dialect
