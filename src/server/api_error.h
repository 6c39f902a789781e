// What a client is told when its request fails, in the shape of the API that it speaks.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "server/http.h"

namespace cachalot {

// Handlers may throw it before they have begun to answer.
struct ApiError {
  int status;
  std::string message;
  std::string code;   // a word for programs; "" is null
  std::string param;  // the field that it is about
  std::optional<std::chrono::seconds> retry_after;
  std::string request = {};  // the id of the request that failed; the router's to add
};

constexpr std::chrono::seconds kRetryAfter{5};  // where nothing says how long a lack will last

ApiError out_of_memory();

// The body; headers that follow from the error are the router's.
using ErrorShape = std::function<http::Response(const ApiError&)>;

// What the log says of it: without what the client sent, which messages quote.
std::string logged(const ApiError& error);

// {"error": {"message": …, "type": …, "param": …, "code": …}}
http::Response openai_error(const ApiError& error);

}  // namespace cachalot
