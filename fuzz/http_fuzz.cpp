// A connection's bytes to requests. The first byte says in pieces of how many bytes they come, which must not matter;
// what is read must keep its limits.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/request_parser.h"

using namespace cachalot::http;

static constexpr Limits kLimits = {.header_bytes = 512, .body_bytes = 1024};

static std::string reading(std::string_view bytes, size_t piece) {
  RequestParser parser(kLimits);
  std::string found;
  try {
    parser.next();
    for (size_t at = 0; at < bytes.size(); at += piece) {
      parser.feed(bytes.substr(at, piece));
      parser.wants_continue();
      if (parser.body_bytes() > kLimits.body_bytes) std::abort();
      while (parser.stage() == RequestParser::Stage::whole) {
        Framing framing;
        const Request request = parser.take(framing);
        found +=
            request.method + ' ' + request.path + ' ' + request.query + (framing.keep_alive ? " keep" : " close");
        for (const auto& [name, value] : request.headers) found += '\n' + name + '=' + value;
        found += "\n\n" + request.body + '\n';
        parser.next();
      }
    }
  } catch (const Refused&) { return found + "refused"; }
  return found + (parser.stage() == RequestParser::Stage::idle ? "idle" : "begun");
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (reading(bytes, size) != reading(bytes, 1 + data[0] % 64)) std::abort();
  return 0;
}
