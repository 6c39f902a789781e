// An HTTP exchange that keeps what its handler says. Time passes in it when its handler waits in vain.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/http.h"

namespace cachalot::testing {

class RecordedExchange : public http::Exchange {
 public:
  using Json = nlohmann::ordered_json;

  explicit RecordedExchange(std::string body = "") { request_.body = std::move(body); }

  void ask_with(std::string query) { request_.query = std::move(query); }

  // What happens meanwhile, before each wait: a generator's step.
  std::function<void()> meanwhile = [] {};
  int gone_after = 1 << 30;  // waits, before the client goes

  int status = 0;
  std::string content_type, body;  // body: of a stream, all parts
  http::Headers headers;
  std::vector<std::string> parts;
  int waits = 0;

  const http::Request& request() const override { return request_; }
  void send(const http::Response& response) override {
    start(response);
    body = response.body;
  }
  void begin(const http::Response& head) override { start(head); }
  void write(std::string_view part) override {
    EXPECT_TRUE(begun_);
    parts.emplace_back(part);
    body += part;
  }
  News wait(const Wakeup& wakeup, std::chrono::milliseconds time) override {
    EXPECT_LE(time.count(), 10'000);
    if (++waits > gone_after) return News::gone;
    if (waits > 100'000) throw std::runtime_error("nothing comes of waiting");
    meanwhile();
    pollfd fd{.fd = wakeup.fd(), .events = POLLIN, .revents = 0};
    return poll(&fd, 1, 0) == 1 ? News::woken : News::timeout;
  }

  Json json() const { return Json::parse(body); }
  // Of a stream: what its events hold, without the last, which must be [DONE]; comments are counted.
  int comments = 0;
  std::vector<Json> events() {
    std::vector<Json> all;
    bool done = false;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == body.npos) throw std::runtime_error("the stream ends within an event");
      const std::string line = body.substr(at, end - at);
      at = end + 2;
      EXPECT_FALSE(done) << line;
      EXPECT_EQ(line.find('\n'), line.npos) << line;
      if (line.starts_with(":"))
        ++comments;
      else if (line == "data: [DONE]")
        done = true;
      else if (line.starts_with("data: "))
        all.push_back(Json::parse(line.substr(6)));
      else
        ADD_FAILURE() << line;
    }
    EXPECT_TRUE(done) << body;
    return all;
  }

 private:
  void start(const http::Response& response) {
    EXPECT_FALSE(begun_);
    begun_ = true;
    status = response.status;
    content_type = response.content_type;
    headers = response.headers;
  }

  http::Request request_;
};

}  // namespace cachalot::testing
