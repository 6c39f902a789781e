// Requests to a hub and to where it sends us, one at a time over connections that are kept. Certificates are checked
// always; what an answer may hold is bounded; redirects are followed here, so that the token stays with its hub.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "hub/settings.h"
#include "hub/web_address.h"

namespace cachalot {

struct ByteRange {
  int64_t first = 0, size = 0;
};

// What went wrong on the way, or what the server could not do.
struct WebFailure : Error {
  WebFailure(Error error, bool is_passing, std::chrono::seconds wait_for = {})
      : Error(std::move(error)), passing(is_passing), wait(wait_for) {}
  bool passing;               // it may go well when it is tried again
  std::chrono::seconds wait;  // as the server asks for (Retry-After); 0: it does not
  bool reached = true;        // somebody answered
};

struct Cancelled {};  // thrown where whoever waits for an answer does so no more

// Lower-case names; of one that comes twice the last counts.
using Headers = std::map<std::string, std::string, std::less<>>;

struct WebAnswer {
  int status = 0;
  Headers headers;
  std::string body;    // where no sink took it
  WebAddress address;  // that gave this answer

  std::string header(std::string_view name) const;  // empty: it has none
  bool ok() const { return status / 100 == 2; }
  bool redirects() const { return status / 100 == 3 && status != 304 && headers.contains("location"); }
};

struct WebRequest {
  WebAddress address;
  bool head = false;
  bool follow = true;              // redirects to other hosts, too; those of its own host are followed always
  std::optional<ByteRange> range;  // of the body
  int64_t limit_bytes = 0;         // more in an answer's body is a failure
  int total_seconds = 0;           // for all of an answer; 0: as long as something comes
  // Hears the headers of an answer of status 200 or 206, then its bytes.
  std::function<void(const WebAnswer&)> begin = {};
  std::function<void(std::span<const std::byte>)> sink = {};
};

class HttpClient {
 public:
  // `cancelled` is asked several times a second.
  HttpClient(const HubSettings& settings, std::function<bool()> cancelled);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any answer that is no redirect (with `follow`), whatever its status. Throws WebFailure where none comes,
  // Cancelled, and what `begin` and `sink` throw.
  WebAnswer ask(const WebRequest& request);
  // The same for requests without a sink, tried again a few times where that may help: no answer, 429, 5xx.
  WebAnswer ask_patiently(const WebRequest& request);

  const HubSettings& settings() const { return settings_; }
  const std::function<bool()>& cancelled() const { return cancelled_; }

 private:
  struct Transfer;
  WebAnswer once(const WebRequest& request, const WebAddress& address);
  void set_up(Transfer& transfer, const WebAddress& address);

  const HubSettings& settings_;
  std::function<bool()> cancelled_;
  void* curl_;  // CURL
};

// Waits between tries, each time longer, or as the server asks; a WebFailure that will not pass, or one too many, is
// thrown on.
class Patience {
 public:
  explicit Patience(const HttpClient& client) : client_(client) {}
  void wait(const WebFailure& failure);
  void renew() { tries_ = 0; }  // something came

 private:
  const HttpClient& client_;
  int tries_ = 0;
};

// The failure that an answer's status is, for one that is not ok: 408, 429 and 5xx pass.
WebFailure failure_of(const WebAnswer& answer);
// Seconds, or a date of HTTP; none where it is neither.
std::optional<std::chrono::seconds> retry_after(std::string_view text, std::chrono::system_clock::time_point now);

}  // namespace cachalot
