#include "server/openai/refusal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "server/openai/json.h"

namespace cachalot::openai {

Refusal Refusal::field(std::string_view name, std::string_view why) {
  return {.status = 400,
          .message = fmt::format("{}: {}", name, why),
          .param = std::string(name),
          .code = {},
          .retry_after = {}};
}

Refusal Refusal::of(const Busy& busy) {
  return {.status = busy.status,
          .message = busy.why,
          .param = {},
          .code = busy.status == 429 ? "rate_limit_exceeded" : "server_unavailable",
          .retry_after = busy.retry_after};
}

static std::string_view type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 404) return "not_found_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

Json error_json(const Refusal& r) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"error",
           {{"message", r.message},
            {"type", type_of(r.status)},
            {"param", or_null(r.param)},
            {"code", or_null(r.code)}}}};
}

http::Response error_response(const Refusal& refusal) {
  http::Response response{.status = refusal.status, .body = dump(error_json(refusal))};
  if (refusal.retry_after) response.headers.add("Retry-After", std::to_string(refusal.retry_after->count()));
  return response;
}

}  // namespace cachalot::openai
