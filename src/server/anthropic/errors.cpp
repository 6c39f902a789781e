// The shape of failures.
#include "server/anthropic/anthropic.h"
#include "server/dialect/json.h"

namespace cachalot::anthropic {
namespace {

constexpr int kOverloaded = 529;

const char* error_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case kOverloaded: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

http::Response error_response(const ApiError& error) {
  const int status = error.status == 503 ? kOverloaded : error.status;
  dialect::Json told = {{"type", error_type(status)}, {"message", error.message}};
  if (!error.code.empty()) told["details"] = {{"error_code", error.code}};
  dialect::Json body = {{"type", "error"},
                        {"error", std::move(told)},
                        {"request_id", error.request.empty() ? dialect::Json() : dialect::Json(error.request)}};
  return {status, dialect::dump(body)};
}

void not_here(http::Exchange& exchange) {
  throw ApiError{
      404,
      "There is no " + exchange.request().path + " here; there are /v1/messages and " + "/v1/messages/count_tokens.",
      "not_found"};
}

}  // namespace cachalot::anthropic
