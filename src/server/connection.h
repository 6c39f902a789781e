// One client's connection, served on the thread that calls it.
#pragma once

#include <atomic>
#include <list>
#include <mutex>

#include "server/http.h"
#include "server/request_parser.h"
#include "server/socket.h"

namespace cachalot::http {

// Connections that wait for a request, the one that has waited longest first. They give way to new ones.
class IdleConnections {
 public:
  // One of them, on its way. Nothing but its constructor allocates, and throws when no descriptor is left.
  class Waiter {
   public:
    explicit Waiter(IdleConnections& all) : all_(all), own_{this} {}
    ~Waiter() { ends(); }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    void begins();
    void ends();
    const Wakeup& told() const { return told_; }  // woken: no further request

   private:
    friend IdleConnections;
    IdleConnections& all_;
    Wakeup told_;
    bool is_told_ = false;
    std::list<Waiter*> own_;  // its place, but while it waits
    const std::list<Waiter*>::iterator place_ = own_.begin();
  };

  // Returns false when nobody waits.
  bool end_one();
  // And whoever begins to wait from now on.
  void end_all();

 private:
  void tell(Waiter& waiter);

  std::mutex mutex_;
  std::list<Waiter*> waiting_, told_;
  bool all_ended_ = false;
};

// What the connections of a server share.
struct Service {
  const Limits limits;
  const Handler handler;
  const Refusal refusal;
  Wakeup ending;  // woken: nothing further
  IdleConnections idle = {};
  std::atomic<bool> stopped = false;
  std::atomic<size_t> body_bytes = 0;  // of all requests that are here
};

// What a connection is told that ends with it.
std::string last_words(const Response& response);

class Connection {
 public:
  Connection(Descriptor fd, std::string remote, IdleConnections::Waiter& waiter, Service& service);
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
  IdleConnections::Waiter& waiter_;
  RequestParser parser_;
};

}  // namespace cachalot::http
