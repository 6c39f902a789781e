#include "server/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/quote.h"

namespace cachalot::http {

namespace {

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Addresses addresses_of(std::string host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo wanted = {}, *found = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE;
  const int failed = host.empty() ? EAI_NONAME : getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  if (failed)
    throw Error(fmt::format("{} is no address of this machine and no name of one", quote(host)))
        .in("--host")
        .because(failed == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(failed))
        .hint("127.0.0.1 for this machine alone, 0.0.0.0 or :: for all networks that it is in");
  return {found, freeaddrinfo};
}

std::string text_of(const sockaddr* address, socklen_t bytes) {
  char text[NI_MAXHOST] = "";
  getnameinfo(address, bytes, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  const std::string_view plain(text);
  return std::string(plain.starts_with("::ffff:") ? plain.substr(7) : plain);  // IPv4 on a socket of both
}

void set_port(sockaddr* address, uint16_t port) {
  if (address->sa_family == AF_INET6)
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
  else
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
}

uint16_t port_of(int fd) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

std::string url(const std::string& address, uint16_t port) {
  return fmt::format("http://{}:{}", address.find(':') == address.npos ? address : "[" + address + "]", port);
}

// none, with errno, when it cannot.
Descriptor listen_at(const sockaddr* address, socklen_t bytes) {
  Descriptor fd(socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  const int yes = 1, no = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (address->sa_family == AF_INET6)
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);  // :: takes both
  if (bind(fd.get(), address, bytes) == 0 && listen(fd.get(), SOMAXCONN) == 0) return fd;
  const int why = errno;
  fd.reset();
  errno = why;
  return fd;
}

struct Failure {
  std::string address;
  int why = 0;  // an errno
};

[[noreturn]] void fail(const Failure& failure, uint16_t port) {
  Error error = Error("cannot listen on " + url(failure.address, port)).because(std::strerror(failure.why));
  switch (failure.why) {
    case EADDRINUSE:
      throw std::move(error).hint("another program has it: choose another --port, or 0 for any free one");
    case EACCES: throw std::move(error).hint("ports below 1024 need a right: choose another --port, like 8080");
    case EADDRNOTAVAIL:
      throw std::move(error).hint("--host wants an address of this machine; 0.0.0.0 is all of them");
    default: throw error;
  }
}

}  // namespace

std::vector<Listener> listen_on(const std::string& host, uint16_t port) {
  const Addresses addresses = addresses_of(host);
  for (int attempt = 0;; ++attempt) {
    std::vector<Listener> listeners;
    Failure absent, refused;  // a name may have addresses of a kind that this machine lacks
    uint16_t chosen = port;   // the first address's free port is everybody's
    for (addrinfo* at = addresses.get(); at; at = at->ai_next) {
      set_port(at->ai_addr, chosen);
      const std::string address = text_of(at->ai_addr, at->ai_addrlen);
      if (Descriptor fd = listen_at(at->ai_addr, at->ai_addrlen)) {
        chosen = port_of(fd.get());
        listeners.push_back({std::move(fd), url(address, chosen), chosen});
      } else {
        const int why = errno;
        (why == EADDRNOTAVAIL || why == EAFNOSUPPORT ? absent : refused) = {address, why};
      }
    }
    const bool unlucky = port == 0 && !listeners.empty() && attempt < 16;  // free at one address, taken at another
    if (refused.why && unlucky) continue;
    if (refused.why) fail(refused, chosen);
    if (listeners.empty()) fail(absent, chosen);
    return listeners;
  }
}

Descriptor accept_from(const Listener& listener, std::string& remote) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  Descriptor fd(
      accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&address), &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd) remote = text_of(reinterpret_cast<sockaddr*>(&address), bytes);
  return fd;
}

void ask_for_descriptors(size_t count) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= count) return;
  limit.rlim_cur = std::min<rlim_t>(count, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace cachalot::http
