// Which hosts are this machine itself.
#pragma once

#include <string_view>

namespace cachalot {

// "localhost", 127.0.0.0/8, "::1" and "[::1]". By what is written alone: no name is looked up.
inline bool is_loopback(std::string_view host) {
  const bool numbers = host.find_first_not_of("0123456789.") == host.npos;
  return host == "localhost" || host == "::1" || host == "[::1]" || (numbers && host.starts_with("127."));
}

}  // namespace cachalot
