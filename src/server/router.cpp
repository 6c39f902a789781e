#include "server/router.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>

#include "base/error.h"
#include "base/quote.h"
#include "server/generator.h"
#include "server/request_parser.h"

namespace cachalot {

using http::same_text;

namespace {

constexpr std::string_view kIdCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:";
constexpr size_t kMostIdBytes = 128;

// Like "https://example.org:8443", as browsers write it.
void check_origin(const std::string& origin) {
  const size_t scheme = origin.find("://");
  const bool plain =
      scheme != origin.npos && scheme > 0 && scheme + 3 < origin.size() &&
      origin.find_first_of("/*?# \t\\@", scheme + 3) == origin.npos &&
      std::ranges::none_of(origin, [](char c) { return (c >= 'A' && c <= 'Z') || c <= ' ' || c >= '\x7f'; });
  if (plain) return;
  throw Error(fmt::format("{} is no origin", quote(origin)))
      .in("--cors-origin")
      .because(origin.find('*') == origin.npos
                   ? "a browser writes it otherwise, and they are compared letter by letter"
                   : "with *, every web page that is open in a browser could use this server")
      .hint("SCHEME://HOST or SCHEME://HOST:PORT, in small letters and without a path, like http://localhost:3000");
}

// "%2F" is "/"; what is no such escape stays.
std::string decoded(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const int letter = (c | 32) - 'a';
    return letter >= 0 && letter < 6 ? letter + 10 : -1;
  };
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      plain += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A host that an attacker's name server cannot be asked for: an address, or this machine's own name for itself.
bool is_address(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end != host.npos && host.substr(1, end - 1).find_first_not_of("0123456789abcdefABCDEF:.%") == host.npos &&
           (end + 1 == host.size() || host[end + 1] == ':');
  }
  host = host.substr(0, host.find(':'));
  return same_text(host, "localhost") || (!host.empty() && host.find_first_not_of("0123456789.") == host.npos);
}

}  // namespace

std::string request_id(const std::string* wanted) {
  const bool fit = wanted && !wanted->empty() && wanted->size() <= kMostIdBytes &&
                   wanted->find_first_not_of(kIdCharacters) == wanted->npos;
  if (fit) return *wanted;
  uint64_t bits[2] = {};
  if (getrandom(bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
    bits[0] = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return fmt::format("req_{:016x}{:016x}", bits[0], bits[1]);
}

// Adds to each answer what every answer has, and counts.
class Router::Dressed final : public http::Exchange {
 public:
  Dressed(http::Exchange& plain, const RouterOptions& options) : plain_(plain), options_(options) {}

  const http::Request& request() const override { return plain_.request(); }
  void send(const http::Response& response) override {
    begun_ = true;
    bytes = static_cast<int64_t>(response.body.size());
    plain_.send(dressed(response));
  }
  void begin(const http::Response& head) override {
    begun_ = true;
    plain_.begin(dressed(head));
  }
  void write(std::string_view part) override {
    bytes += static_cast<int64_t>(part.size());
    plain_.write(part);
  }
  News wait(const Wakeup& wakeup, std::chrono::milliseconds time) override { return plain_.wait(wakeup, time); }

  std::string id, allowed_origin;
  int status = 0;  // 0: none yet
  int64_t bytes = 0;

 private:
  http::Response dressed(http::Response response) {
    status = response.status;
    response.headers.add("Server", "cachalot");
    response.headers.add("x-request-id", id);
    response.headers.add("request-id", id);  // where Anthropic's clients look
    if (!options_.cors_origins.empty()) response.headers.add("Vary", "Origin");
    if (!allowed_origin.empty()) {
      response.headers.add("Access-Control-Allow-Origin", allowed_origin);
      response.headers.add("Access-Control-Expose-Headers", "x-request-id, Retry-After");
    }
    return response;
  }

  http::Exchange& plain_;
  const RouterOptions& options_;
};

Router::Router(RouterOptions options, const Health& health) : options_(std::move(options)), health_(health) {
  for (const std::string& origin : options_.cors_origins) check_origin(origin);
  const auto ready = [this](Call& call) { call.http.send(health_.answer()); };
  const auto live = [](Call& call) { call.http.send({200, R"({"status":"ok"})"}); };
  const auto open = [&](const char* path, CallHandler handler) {
    add({.method = "GET",
         .path = path,
         .handler = std::move(handler),
         .open = true,
         .needs_model = false,
         .logged = false});
  };
  open("/health", ready);
  open("/health/ready", ready);
  open("/health/live", live);
}

void Router::add(Route route) { routes_.push_back(std::move(route)); }

bool Router::listed(const std::string& origin) const {
  return std::ranges::find(options_.cors_origins, origin) != options_.cors_origins.end();
}

void Router::handle(http::Exchange& exchange) const {
  const auto begun = std::chrono::steady_clock::now();
  const http::Request& request = exchange.request();
  Dressed dressed(exchange, options_);
  Call call = {dressed, request_id(request.headers.find("x-request-id")), {}, {}, {}};
  dressed.id = call.id;
  if (const std::string* origin = request.headers.find("Origin"); origin && listed(*origin))
    dressed.allowed_origin = *origin;
  call.log.text("time", log_time());
  call.log.text("id", call.id);
  call.log.text("caller", "");
  call.log.text("remote", request.remote);
  call.log.text("method", request.method);
  call.log.text("path", request.path);

  const Route* route = nullptr;
  bool failed = false;
  std::exception_ptr ended;  // what ends the connection
  try {
    failed = !answer(call, route);
  } catch (...) { ended = std::current_exception(); }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begun;
  const int status = dressed.status ? dressed.status : 499;  // as nginx calls a client that has gone
  if (options_.heard) options_.heard(route ? route->path : "", status, time.count());
  if (options_.log && (!route || route->logged || failed)) {
    call.log.count("status", status);
    call.log.number("ms", 1e3 * time.count());
    call.log.count("bytes", dressed.bytes);
    options_.log(call.log.line());
  }
  if (ended) std::rethrow_exception(ended);
}

// Within a catch.
static ApiError told_of_exception(RequestLog& log) {
  try {
    throw;
  } catch (const ApiError& known) { return known; } catch (const Busy& busy) {
    return {busy.status, busy.why, busy.status == 429 ? "rate_limit_exceeded" : "overloaded", {}, busy.retry_after};
  } catch (const Error& bad) { return {400, bad.what()}; } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::system_error& lack) {  // of descriptors, of threads
    log.text("lack", lack.what());
    return {503, "The system has no room for this request now.", "overloaded", {}, kRetryAfter};
  } catch (const std::exception& bug) {
    log.text("bug", bug.what());  // the client has no use for it
  } catch (...) { log.text("bug", "something is thrown that is no exception"); }
  return {500, "The server has failed; its log has more under this request's id."};
}

// Turns what a handler throws into an answer, and returns whether it threw nothing.
bool Router::answer(Call& call, const Route*& route) const {
  try {
    dispatch(call, route);
    return true;
  } catch (const http::ClientGone&) {
    call.log.text("error", "the client has gone");
    throw;
  } catch (...) {
    ApiError error = told_of_exception(call.log);
    error.request = call.id;
    call.log.text("error", logged(error));
    if (call.http.begun()) throw;  // the client sees that the answer breaks off
    http::Response response = shape_of(call.http.request().path)(error);
    if (error.retry_after) response.headers.add("Retry-After", fmt::format("{}", error.retry_after->count()));
    if (error.status == 401) response.headers.add("WWW-Authenticate", "Bearer");
    if (error.status == 405) response.headers.add("Allow", methods_of(call.http.request().path));
    call.http.send(response);
    return false;
  }
}

void Router::dispatch(Call& call, const Route*& route) const {
  const http::Request& request = call.http.request();
  if (request.method == "OPTIONS") return tell_options(call);
  route = find(request.method, request.path, call.rest);
  if (!route && methods_of(request.path).empty()) throw not_found(request);
  if (!route)
    throw ApiError{405, fmt::format("{} does not take {}, but {}.", quote(request.path), quote(request.method),
                                    methods_of(request.path))};
  if (!route->open) {
    check_page(request);
    check_key(call);
  }
  if (!route->needs_model) return route->handler(call);
  if (const std::optional<ApiError> refusal = health_.refusal()) throw *refusal;
  route->handler(call);
}

void Router::check_key(Call& call) const {
  if (options_.keys.empty()) return;
  const http::Request& request = call.http.request();
  const std::string* caller = options_.keys.caller_of(request);
  if (!caller) {
    const bool shown = request.headers.find("Authorization") || request.headers.find("x-api-key");
    throw ApiError{401,
                   shown ? "The API key is not one of this server's."
                         : "An API key is wanted: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
                   "invalid_api_key"};
  }
  call.caller = *caller;
  call.log.text("caller", call.caller);
}

// Where no keys are asked for, a web page that somebody on this machine has opened could make the server work. A
// browser says whose page it is, also when the page reaches the server by a name that its owner points here; of such
// a page on the server itself nothing is known but where its name is an address.
void Router::check_page(const http::Request& request) const {
  const std::string* origin = request.headers.find("Origin");
  if (!origin || !options_.keys.empty() || request.method == "GET" || request.method == "HEAD" || listed(*origin))
    return;
  const std::string* host = request.headers.find("Host");
  const bool own = host && is_address(*host) && (*origin == "http://" + *host || *origin == "https://" + *host);
  if (!own)
    throw ApiError{
        403,
        fmt::format("Web pages of {} may not use this server; --cors-origin lists those that may.", quote(*origin)),
        "origin_not_allowed"};
}

// What a browser asks before it lets a page send its request, and what others ask out of interest.
void Router::tell_options(Call& call) const {
  const http::Request& request = call.http.request();
  const std::string methods = request.path == "*" ? "GET, HEAD, POST, OPTIONS" : methods_of(request.path);
  if (methods.empty()) throw not_found(request);
  http::Response response = {204, {}, {}, {{"Allow", methods}}};
  const std::string* origin = request.headers.find("Origin");
  if (origin && listed(*origin) && request.headers.find("Access-Control-Request-Method")) {
    const std::string* headers = request.headers.find("Access-Control-Request-Headers");
    response.headers.add("Access-Control-Allow-Methods", methods);
    response.headers.add("Access-Control-Allow-Headers",
                         headers ? *headers : "Authorization, Content-Type, x-api-key");
    response.headers.add("Access-Control-Max-Age", "600");
  }
  call.http.send(response);
}

static bool leads_to(const Route& route, std::string_view path) {
  const std::string_view known = route.path;
  return path == known || (known.ends_with("/*") && path.size() >= known.size() &&
                           path.starts_with(known.substr(0, known.size() - 1)));
}

// A path that a route names is not one of those that go on behind another's "*".
bool Router::takes(const Route& route, std::string_view path) const {
  const bool named = std::ranges::find(routes_, path, &Route::path) != routes_.end();
  return named ? route.path == path : leads_to(route, path);
}

const Route* Router::find(std::string_view method, std::string_view path, std::string& rest) const {
  if (method == "HEAD") method = "GET";
  const Route* found = nullptr;
  for (const Route& route : routes_)
    if (route.method == method && takes(route, path) && !found) found = &route;
  if (found && found->path != path) rest = decoded(path.substr(found->path.size() - 1));
  return found;
}

// The same for all methods of a path, and for one that a base with a slash at its end has made of it.
ErrorShape Router::shape_of(std::string_view path) const {
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto route = std::ranges::find_if(routes_, [&](const Route& one) { return takes(one, path); });
  return route == routes_.end() ? openai_error : route->shape;
}

// "" for a path that leads nowhere.
std::string Router::methods_of(std::string_view path) const {
  std::string methods;
  for (const Route& route : routes_)
    if (takes(route, path) && methods.find(route.method) == methods.npos)
      methods += route.method + (route.method == "GET" ? ", HEAD, " : ", ");
  return methods.empty() ? methods : methods + "OPTIONS";
}

// Most wrong paths are right ones with a wrong base.
ApiError Router::not_found(const http::Request& request) const {
  std::string near = request.path;
  for (size_t at; (at = near.find("//")) != near.npos;) near.erase(at, 1);
  if (near.size() > 1 && near.ends_with('/')) near.pop_back();
  if (near.starts_with("/v1/v1/")) near.erase(0, 3);
  std::string hint;
  const std::string first = near == "/" || near == "/v1" ? "/v1/models" : near;  // who looks what is here
  for (const std::string& path : {first, "/v1" + near, near.starts_with("/v1/") ? near.substr(3) : near})
    if (hint.empty() && !methods_of(path).empty()) hint = fmt::format(" Did you mean {}?", quote(path));
  return {404, fmt::format("There is no {} here.{}", quote(request.path), hint), "not_found"};
}

http::Response Router::refuse(int status, std::string_view why, std::string_view path) const {
  const std::string id = request_id(nullptr);
  if (options_.log) {
    RequestLog log;
    log.text("time", log_time());
    log.text("id", id);
    log.count("status", status);
    log.text("error", why);
    options_.log(log.line());
  }
  ApiError error{status, std::string(why)};
  error.request = id;
  http::Response response = shape_of(path)(error);
  response.headers.add("Server", "cachalot");
  response.headers.add("x-request-id", id);
  if (status == 503) response.headers.add("Retry-After", fmt::format("{}", kRetryAfter.count()));
  return response;
}

}  // namespace cachalot
