#include "server/http.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "base/ending.h"
#include "base/error.h"
#include "base/log.h"
#include "server/connection.h"
#include "server/listener.h"

namespace cachalot::http {

using namespace std::chrono_literals;

namespace {

constexpr auto kPause = 100ms;          // of accepting, when the system has no room for a client
constexpr size_t kMostTurnedAway = 64;  // that are waited for

// Throws away what a client has sent. Returns whether it may still send.
bool drain(int fd) {
  std::array<char, 4096> ignored;
  for (int i = 0; i < 64; ++i) {  // and then others have their turn
    const ssize_t got = recv(fd, ignored.data(), ignored.size(), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got < 0 && errno == EAGAIN) return true;
  }
  return true;
}

}  // namespace

// One thread accepts and joins the threads of connections that have ended; each connection has its own.
struct Server::State {
  State(const std::string& host, uint16_t port, Limits limits, Handler handler, Refusal refusal)
      : service{limits, std::move(handler), std::move(refusal)}, listeners(listen_on(host, port)) {
    address = listeners.front().address;
    this->port = listeners.front().port;
    ask_for_descriptors(static_cast<size_t>(limits.connections) * 4 + 64);  // sockets, and what requests wait with
    const SignalsHeld held;                                                 // signals are the main thread's
    try {
      acceptor = std::thread([this] { accept_all(); });
    } catch (const std::system_error& error) {
      throw Error("no thread can be started to listen with").because(error.what());
    }
  }
  ~State() {
    stop();
    service.ending.wake();
    acceptor.join();
    for (Served& one : served) one.thread.join();
  }

  void stop();
  bool wait(std::chrono::milliseconds time);

  Service service;
  std::string address;
  uint16_t port = 0;
  std::atomic<int> open = 0;  // connections whose thread has not ended

 private:
  struct Served {
    Served(std::string from, IdleConnections& idle) : remote(std::move(from)), waiter(idle) {}

    Descriptor socket;
    std::string remote;
    IdleConnections::Waiter waiter;
    bool ended = false;
    std::thread thread;
  };
  // Was told that there is no room. Closing at once could take that back (Socket::linger).
  struct TurnedAway {
    Descriptor socket;
    Clock::time_point until;
  };

  void accept_all();
  bool accept_one(size_t listener);
  Descriptor next_client(size_t listener, std::string& remote);
  void use_spare(size_t listener);
  void serve(Descriptor socket, std::string remote);
  void run(Served& one) noexcept;
  void turn_away(Descriptor socket, const char* why);
  void join_ended();

  Wakeup ended;  // woken: one of `served` is
  std::mutex mutex;
  std::condition_variable changed;  // `open` has
  std::list<Served> served;         // guarded by `mutex`, as is …
  std::vector<Listener> listeners;  // … this; none after stop()
  std::thread acceptor;

  // Of the acceptor alone.
  static int any_file() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  Descriptor spare{any_file()};  // given up for a client to be told that there are no more
  std::list<TurnedAway> turned_away;
};

void Server::State::stop() {
  const std::lock_guard lock(mutex);
  service.stopped = true;
  // Not closed alone: while accept_all() polls them, they would go on listening.
  for (const Listener& listener : listeners) shutdown(listener.socket.get(), SHUT_RDWR);
  listeners.clear();
  service.idle.end_all();
}

bool Server::State::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex);
  return changed.wait_for(lock, time, [&] { return open == 0; });
}

void Server::State::accept_all() {
  auto resume = Clock::now();  // accepting
  for (;;) {
    try {
      std::vector<pollfd> fds = {{service.ending.fd(), POLLIN, 0}, {ended.fd(), POLLIN, 0}};
      const bool paused = Clock::now() < resume;
      size_t count;
      {
        const std::lock_guard lock(mutex);
        count = listeners.size();
        for (const Listener& one : listeners) fds.push_back({paused ? -1 : one.socket.get(), POLLIN, 0});
      }
      for (const TurnedAway& one : turned_away) fds.push_back({one.socket.get(), POLLIN, 0});
      const bool soon = paused || !turned_away.empty();
      if (poll(fds.data(), fds.size(), soon ? static_cast<int>(kPause / 1ms) : -1) < 0 && errno != EINTR)
        throw std::bad_alloc();
      if (fds[0].revents) return;
      if (fds[1].revents) join_ended();
      for (size_t i = 0; i < count; ++i)
        if (fds[2 + i].revents && !accept_one(i)) resume = Clock::now() + kPause;
      std::erase_if(turned_away,
                    [](const TurnedAway& one) { return !drain(one.socket.get()) || Clock::now() >= one.until; });
    } catch (const std::bad_alloc&) { std::this_thread::sleep_for(kPause); }
  }
}

// Returns whether the system has room for more.
bool Server::State::accept_one(size_t listener) {
  std::string remote;
  Descriptor client = next_client(listener, remote);
  if (client) {
    // One that is told to end for it does so at once, or after the request that came meanwhile.
    if (open < service.limits.connections || service.idle.end_one())
      serve(std::move(client), std::move(remote));
    else
      turn_away(std::move(client), "The server has as many connections as it may; try again later.");
    return true;
  }
  if (errno == EMFILE || errno == ENFILE) use_spare(listener);
  return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
}

// None, with errno, when there is none.
Descriptor Server::State::next_client(size_t listener, std::string& remote) {
  const std::lock_guard lock(mutex);
  errno = EAGAIN;
  return listener < listeners.size() ? accept_from(listeners[listener], remote) : Descriptor();
}

// Tells one client that there are no descriptors, with the last one.
void Server::State::use_spare(size_t listener) {
  spare.reset();
  std::string remote;
  if (Descriptor client = next_client(listener, remote)) {
    turn_away(std::move(client), "The server has no descriptor left; try again later.");
    std::this_thread::sleep_for(kPause);  // for the client to hang up
    turned_away.clear();
  }
  spare = Descriptor(any_file());
  errno = EMFILE;
}

void Server::State::serve(Descriptor socket, std::string remote) {
  std::list<Served> one;
  try {
    one.emplace_back(std::move(remote), service.idle);
  } catch (const std::system_error&) {
    return turn_away(std::move(socket), "The server has no descriptor left; try again later.");
  }
  one.front().socket = std::move(socket);
  try {
    const std::lock_guard lock(mutex);  // so run() finds its thread in the list
    one.front().thread = std::thread([this, &one = one.front()] { run(one); });
    ++open;
    served.splice(served.end(), one);
  } catch (const std::system_error&) {
    turn_away(std::move(one.front().socket), "The server has no thread left; try again later.");
  }
}

void Server::State::run(Served& one) noexcept {
  try {
    Connection(std::move(one.socket), std::move(one.remote), one.waiter, service).serve();
  } catch (...) { say("cachalot: warning: there is no memory for a connection\n"); }
  const std::lock_guard lock(mutex);
  one.ended = true;
  --open;
  changed.notify_all();
  ended.wake();
}

void Server::State::turn_away(Descriptor socket, const char* why) {
  const std::string text = last_words(service.refusal(503, why, ""));
  send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);  // fits what a new socket holds
  shutdown(socket.get(), SHUT_WR);
  if (turned_away.size() == kMostTurnedAway) turned_away.pop_front();
  turned_away.push_back({std::move(socket), Clock::now() + service.limits.linger_time});
}

void Server::State::join_ended() {
  std::list<Served> done;
  {
    const std::lock_guard lock(mutex);
    ended.reset();
    for (auto at = served.begin(); at != served.end();) {
      const auto next = std::next(at);
      if (at->ended) done.splice(done.end(), served, at);
      at = next;
    }
  }
  for (Served& one : done) one.thread.join();
}

Server::Server(const std::string& host, uint16_t port, Limits limits, Handler handler, Refusal refusal)
    : state_(std::make_unique<State>(host, port, limits, std::move(handler), std::move(refusal))) {}
Server::~Server() = default;

uint16_t Server::port() const { return state_->port; }
std::string Server::address() const { return state_->address; }
int Server::connections() const { return state_->open; }
void Server::stop() { state_->stop(); }
bool Server::wait(std::chrono::milliseconds time) { return state_->wait(time); }

}  // namespace cachalot::http
