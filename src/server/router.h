// Which handler answers which request, and what holds for all of them: who may ask, from which web pages, what a
// failure looks like, and a line in the log.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/health.h"
#include "server/http.h"
#include "server/keys.h"
#include "server/request_log.h"

namespace cachalot {

// One request, as handlers get it.
struct Call {
  http::Exchange& http;  // what is sent through it gets the headers that every answer has
  std::string id;        // x-request-id, the client's if it sent one that is fit
  std::string caller;    // whose key it came with, by name; "" when no keys are asked for
  std::string rest;      // what the path has where its route has "*", decoded
  RequestLog log;        // a handler adds what it knows: model, prompt_tokens, cached_tokens, finish_reason, …
};

// What handlers throw before they have begun to answer: ApiError as it says; Error becomes 400, Busy (generator.h)
// its status with Retry-After, a lack of memory, descriptors or threads 503, anything else 500. Whoever streams tells
// failures in the stream.
using CallHandler = std::function<void(Call&)>;

struct Route {
  std::string method, path;  // a path that ends in "/*" takes any that goes on
  CallHandler handler;
  bool open = false;                // also without a key
  bool needs_model = true;          // 503 while Health refuses
  bool logged = true;               // false: only what its handler throws
  ErrorShape shape = openai_error;  // of its failures; the same for all methods of the path
};

struct RouterOptions {
  Keys keys;
  // Web pages of these origins ("https://chat.example.org") may use the server from a browser.
  std::vector<std::string> cors_origins;
  std::function<void(std::string_view)> log;  // of each request a line; none: no log
  // Hears of each request its route as it is declared, "" where there is none, its status and how long it took.
  std::function<void(std::string_view route, int status, double seconds)> heard;
};

class Router {
 public:
  // `health` is asked, and answers /health, /health/live and /health/ready. Throws Error for what is no origin.
  Router(RouterOptions options, const Health& health);

  // Before the first request.
  void add(Route route);

  // http::Handler and http::Refusal. From any thread.
  void handle(http::Exchange& exchange) const;
  http::Response refuse(int status, std::string_view why, std::string_view path) const;

 private:
  class Dressed;
  bool answer(Call& call, const Route*& route) const;
  void dispatch(Call& call, const Route*& route) const;
  void check_key(Call& call) const;
  void check_page(const http::Request& request) const;
  void tell_options(Call& call) const;
  bool takes(const Route& route, std::string_view path) const;
  const Route* find(std::string_view method, std::string_view path, std::string& rest) const;
  ErrorShape shape_of(std::string_view path) const;
  std::string methods_of(std::string_view path) const;
  ApiError not_found(const http::Request& request) const;
  bool listed(const std::string& origin) const;

  const RouterOptions options_;
  const Health& health_;
  std::vector<Route> routes_;
};

// A fit id is given back; otherwise one is made.
std::string request_id(const std::string* wanted);

}  // namespace cachalot
