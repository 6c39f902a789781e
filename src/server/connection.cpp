#include "server/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace cachalot::http {

using namespace std::chrono_literals;

namespace {

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::time_t time) {
  constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm utc = {};
  gmtime_r(&time, &utc);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon],
                     utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

// What would end a line of the headers becomes a space, whoever wrote it.
std::string one_line(std::string text) {
  std::ranges::replace_if(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return text;
}

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

enum class Length { whole, chunked, until_close };

std::string answer_head(const Response& response, Length length, const Framing& framing) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, reason_phrase(response.status),
                                 http_date(std::time(nullptr)));
  for (const auto& [name, value] : response.headers) head += one_line(name) + ": " + one_line(value) + "\r\n";
  if (may_have_body(response.status)) {
    if (!response.content_type.empty()) head += "Content-Type: " + one_line(response.content_type) + "\r\n";
    if (length == Length::whole) head += fmt::format("Content-Length: {}\r\n", response.body.size());
    if (length == Length::chunked) head += "Transfer-Encoding: chunked\r\n";
  }
  if (!framing.keep_alive) head += "Connection: close\r\n";
  if (framing.keep_alive && !framing.http11) head += "Connection: keep-alive\r\n";
  return head + "\r\n";
}

}  // namespace

std::string last_words(const Response& response) {
  return answer_head(response, Length::whole, {.keep_alive = false}) + response.body;
}

// -- Who waits for a request

void IdleConnections::Waiter::begins() {
  const std::lock_guard lock(all_.mutex_);
  auto& list = is_told_ ? all_.told_ : all_.waiting_;
  list.splice(list.end(), own_);
  if (all_.all_ended_) all_.tell(*this);
}

void IdleConnections::Waiter::ends() {
  const std::lock_guard lock(all_.mutex_);
  if (own_.empty()) own_.splice(own_.end(), is_told_ ? all_.told_ : all_.waiting_, place_);
}

void IdleConnections::tell(Waiter& waiter) {
  if (std::exchange(waiter.is_told_, true)) return;
  waiter.told_.wake();
  told_.splice(told_.end(), waiting_, waiter.place_);
}

bool IdleConnections::end_one() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return false;
  tell(*waiting_.front());
  return true;
}

void IdleConnections::end_all() {
  const std::lock_guard lock(mutex_);
  all_ended_ = true;
  while (!waiting_.empty()) tell(*waiting_.front());
}

// -- Requests and answers

// The share of one request's body in what all may hold.
class Connection::Body {
 public:
  explicit Body(Service& service) : service_(service) {}
  ~Body() { give_back(); }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  void grow_to(size_t bytes) {
    const size_t all = service_.body_bytes += bytes - std::exchange(bytes_, bytes);
    if (all > service_.limits.all_body_bytes)
      throw Refused{503, "The server holds as many bytes of requests as it may; try again later."};
  }
  void give_back() { service_.body_bytes -= std::exchange(bytes_, 0); }

 private:
  Service& service_;
  size_t bytes_ = 0;
};

class Connection::Answer final : public Exchange {
 public:
  Answer(Socket& socket, const Service& service, Request request, Framing framing)
      : socket_(socket), service_(service), request_(std::move(request)), framing_(framing) {}

  const Request& request() const override { return request_; }

  void send(const Response& response) override {
    start();
    const bool body = !to_head() && may_have_body(response.status) && !response.body.empty();
    socket_.write(answer_head(response, Length::whole, framing_), body);
    if (body) socket_.write(response.body);
  }

  void begin(const Response& head) override {
    start();
    if (!framing_.http11) framing_.keep_alive = false;  // the end of the body is the connection's
    length_ = framing_.http11 ? Length::chunked : Length::until_close;
    socket_.write(answer_head(head, length_, framing_));
  }

  void write(std::string_view part) override {
    CHECK(begun_ && length_ != Length::whole);
    if (part.empty() || to_head()) return;
    if (length_ == Length::until_close) return socket_.write(part);
    socket_.write(fmt::format("{:x}\r\n{}\r\n", part.size(), part));
  }

  News wait(const Wakeup& wakeup, std::chrono::milliseconds time) override {
    switch (socket_.wait(wakeup, Clock::now() + time)) {
      case Socket::News::woken: return News::woken;
      case Socket::News::timeout: return News::timeout;
      default: return News::gone;
    }
  }

  // When the handler has returned.
  void finish() {
    if (length_ == Length::chunked && !to_head()) socket_.write("0\r\n\r\n");
  }
  // When it has failed: a missing last chunk says so, and without chunks a reset.
  void break_off() {
    if (length_ == Length::until_close) socket_.reset_at_end();
  }
  bool keep_alive() const { return framing_.keep_alive; }

 private:
  bool to_head() const { return request_.method == "HEAD"; }

  void start() {
    CHECK(!begun_, "an answer was given twice");
    begun_ = true;
    if (service_.stopped) framing_.keep_alive = false;
  }

  Socket& socket_;
  const Service& service_;
  const Request request_;
  Framing framing_;
  Length length_ = Length::whole;
};

Connection::Connection(Descriptor fd, std::string remote, IdleConnections::Waiter& waiter, Service& service)
    : service_(service),
      remote_(std::move(remote)),
      socket_(std::move(fd), service.ending, service.limits.write_time),
      waiter_(waiter),
      parser_(service.limits) {}

void Connection::serve() noexcept {
  try {
    while (serve_one()) {}
  } catch (const ClientGone&) { return; } catch (...) {
    say("cachalot: warning: a connection has ended for want of memory\n");
  }
}

bool Connection::serve_one() {
  Body body(service_);
  try {
    if (!read_request(body)) return false;
  } catch (const Refused& refused) { return refuse(refused, body); } catch (const std::bad_alloc&) {
    return refuse({503, "The server is out of memory."}, body);
  }
  Framing framing;
  Request request = parser_.take(framing);
  request.remote = remote_;
  Answer answer(socket_, service_, std::move(request), framing);
  try {
    service_.handler(answer);
    if (!answer.begun()) answer.send(service_.refusal(500, "The server has no answer.", ""));
    answer.finish();
  } catch (const ClientGone&) { return false; } catch (...) {
    if (answer.begun()) {
      answer.break_off();
      return false;
    }
    answer.send(service_.refusal(500, "The server has failed.", ""));
  }
  if (!answer.keep_alive()) socket_.linger(Clock::now() + service_.limits.linger_time);
  return answer.keep_alive();
}

// Whether there is one, whole. Throws Refused.
bool Connection::read_request(Body& body) {
  using Stage = RequestParser::Stage;
  const Limits& limits = service_.limits;
  std::array<char, 16 << 10> buffer;
  auto begun = Clock::now(), last = begun;  // of this stage: its beginning and its last bytes
  size_t received = 0;                      // in this stage
  parser_.next();
  for (Stage stage = parser_.stage(); stage != Stage::whole;) {
    if (parser_.wants_continue()) socket_.write("HTTP/1.1 100 Continue\r\n\r\n");
    const auto slowest = std::chrono::milliseconds(received * 1000 / 1024);  // 1 KiB/s
    const auto until = stage == Stage::idle   ? begun + limits.idle_time
                       : stage == Stage::head ? begun + limits.head_time
                                              : std::min(last, begun + slowest) + limits.body_time;
    if (stage == Stage::idle) waiter_.begins();
    const Socket::Read read = socket_.read(buffer, until, stage == Stage::idle ? &waiter_.told() : nullptr);
    waiter_.ends();
    if (read.news == Socket::News::timeout && stage != Stage::idle)
      throw Refused{408, stage == Stage::head ? "The headers came too slowly." : "The body came too slowly."};
    if (read.news == Socket::News::closed && stage != Stage::idle)
      throw Refused{400, "The connection was closed in the middle of a request."};
    if (read.news != Socket::News::bytes) return false;
    last = Clock::now();
    received += read.bytes.size();
    parser_.feed(read.bytes);
    body.grow_to(parser_.body_bytes());
    if (parser_.stage() != stage) begun = last, received = 0;
    stage = parser_.stage();
  }
  return true;
}

bool Connection::refuse(const Refused& refused, Body& body) {
  const std::string path = parser_.path();
  parser_.forget();
  body.give_back();
  socket_.write(last_words(service_.refusal(refused.status, refused.why, path)));
  socket_.linger(Clock::now() + service_.limits.linger_time);
  return false;
}

}  // namespace cachalot::http
