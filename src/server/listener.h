// Where clients come in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/socket.h"

namespace cachalot::http {

struct Listener {
  Descriptor socket;
  std::string address;  // "http://127.0.0.1:8080"
  uint16_t port;
};

// Sockets that listen on all addresses of `host`. Throws Error, which says what to do.
std::vector<Listener> listen_on(const std::string& host, uint16_t port);

// The next client of a listening socket; none, with errno, when there is none. `remote` becomes its address.
Descriptor accept_from(const Listener& listener, std::string& remote);

// Lets this process have so many descriptors, as far as the system allows.
void ask_for_descriptors(size_t count);

}  // namespace cachalot::http
