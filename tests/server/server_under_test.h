// A server on a free port of this machine, whose handler says what it was asked unless a test has its own.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <thread>

#include "server/http.h"

namespace cachalot::http {

inline Response refusal(int status, std::string_view why, std::string_view) {
  return {status, fmt::format("refused: {}", why)};
}

class ServerUnderTest {
 public:
  explicit ServerUnderTest(Handler handler = {}, Limits limits = {})
      : server_("127.0.0.1", 0, limits, handler ? handler : say_what_was_asked, refusal) {}

  Server* operator->() { return &server_; }
  uint16_t port() const { return server_.port(); }

  // Whether it comes true before long.
  static bool comes(const std::function<bool()>& what) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!what()) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

 private:
  static void say_what_was_asked(Exchange& exchange) {
    const Request& request = exchange.request();
    exchange.send({200, fmt::format("{} {} ? {} [{}]", request.method, request.path, request.query, request.body)});
  }

  Server server_;
};

}  // namespace cachalot::http
