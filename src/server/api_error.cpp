#include "server/api_error.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace cachalot {

static const char* type_of(int status) {
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

ApiError out_of_memory() { return {503, "The server is out of memory.", "overloaded", {}, kRetryAfter}; }

// Of a refused body the message may quote any part, a field that nobody knows is such a part, and lengths are
// numbers.
std::string logged(const ApiError& error) {
  if (error.status != 400 || error.code == "context_length_exceeded") return error.message;
  if (error.code == "unknown_field") return "refused: a field that is not known";
  if (error.param.empty()) return "refused: the body is malformed";
  // Names within a field may be the client's.
  return "refused: " + error.param.substr(0, std::min(error.param.find('.'), error.param.find("['")));
}

http::Response openai_error(const ApiError& error) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  const nlohmann::ordered_json body = {{"error",
                                        {{"message", error.message},
                                         {"type", type_of(error.status)},
                                         {"param", or_null(error.param)},
                                         {"code", or_null(error.code)}}}};
  return {error.status, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

}  // namespace cachalot
