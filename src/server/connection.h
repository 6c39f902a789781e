// One client's connection, served on the thread that calls it.
#pragma once

#include <atomic>

#include "server/http.h"
#include "server/request_parser.h"
#include "server/socket.h"

namespace cachalot::http {

// What the connections of a server share.
struct Service {
  const Limits limits;
  const Handler handler;
  const Refusal refusal;
  Wakeup stopping;  // woken: no further request
  Wakeup ending;    // woken: nothing further
  std::atomic<bool> stopped = false;
  std::atomic<size_t> body_bytes = 0;  // of all requests that are here
};

// What a connection is told that ends with it.
std::string last_words(const Response& response);

class Connection {
 public:
  Connection(Descriptor fd, std::string remote, Service& service);
  // Request after request, until either side ends it.
  void serve() noexcept;

 private:
  class Body;
  class Answer;
  bool serve_one();
  bool read_request(Body& body);
  bool refuse(const Refused& refused, Body& body);

  Service& service_;
  std::string remote_;
  Socket socket_;
  RequestParser parser_;
};

}  // namespace cachalot::http
