// HTTP/1.1 as the rest of the server sees it: requests that are whole and bounded, answers that are whole or a
// stream. The library that reads it is in request_parser.cpp alone. Each connection has a thread, on which its
// handler runs.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/wakeup.h"

namespace cachalot::http {

class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // The first field of that name, in any case; nullptr when there is none.
  const std::string* find(std::string_view name) const;
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method;       // "POST"
  std::string path, query;  // "/v1/models" and what stands behind "?"; as sent
  Headers headers;
  std::string body;
  std::string remote;  // the client's address, without its port
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  Headers headers;
};

// The client has closed its connection, reset it, or reads too slowly. Handlers let it pass.
struct ClientGone {};

// One request and the way back to its client. Used by its handler's thread alone.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const = 0;

  // The whole answer, to HEAD as to GET: its body is left out. Exactly one of send() and begin() is called, once.
  // These throw ClientGone.
  virtual void send(const Response& response) = 0;
  // The beginning of an answer whose body comes in parts; its headers are sent at once. It ends when the handler
  // returns; when that throws, the client sees a connection that breaks off.
  virtual void begin(const Response& head) = 0;
  virtual void write(std::string_view part) = 0;
  bool begun() const { return begun_; }  // send() or begin() was called

  // Until `wakeup` is woken, the time is over, or the client has closed its end, also for writing alone. What the
  // client sends meanwhile is of the next request.
  enum class News { woken, timeout, gone };
  virtual News wait(const Wakeup& wakeup, std::chrono::milliseconds time) = 0;

 protected:
  bool begun_ = false;
};

// What a request that cannot be read, or that the server has no room for, is answered with: its status (400, 408,
// 413, 414, 417, 431, 501, 503, 505; 500 when a handler fails before it has begun) and a sentence. The dialect's
// shape of errors is the caller's; `path` is "" where none was read. From any thread.
using Refusal = std::function<Response(int status, std::string_view why, std::string_view path)>;
using Handler = std::function<void(Exchange&)>;

struct Limits {
  int connections = 1024;  // for one more the one that has been idle longest is closed; without such it is told 503
  size_t header_bytes = size_t{64} << 10;
  size_t body_bytes = size_t{64} << 20;
  size_t all_body_bytes = size_t{1} << 30;       // of all connections together; who comes beyond it is told 503
  std::chrono::milliseconds head_time{15'000};   // for all headers of a request, from its first byte
  std::chrono::milliseconds body_time{60'000};   // without a byte of the body; and 1 KiB/s is the least over it all
  std::chrono::milliseconds idle_time{75'000};   // of a connection between requests
  std::chrono::milliseconds write_time{30'000};  // without a byte that the client takes
  std::chrono::milliseconds linger_time{1'000};  // for a client to hang up that was answered in mid-request
};

class Server {
 public:
  // Listens; `host` is an address, or a name, of which all addresses are taken; port 0 is any free one. Throws Error
  // when that cannot be. Asks the system for as many descriptors as so many connections need.
  Server(const std::string& host, uint16_t port, Limits limits, Handler handler, Refusal refusal);
  // Ends every connection and joins its thread; a handler sees that its client has gone.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  std::string address() const;  // "http://127.0.0.1:8080"; an IPv6 address in brackets
  int connections() const;      // open ones

  // From now on: nobody is accepted, idle connections are closed, and others close after their answer.
  void stop();
  // Whether all connections have ended within that time after stop().
  bool wait(std::chrono::milliseconds time);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cachalot::http
