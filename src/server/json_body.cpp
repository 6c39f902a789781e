#include "server/json_body.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"
#include "server/api_error.h"
#include "server/request_parser.h"

namespace cachalot {

nlohmann::ordered_json json_body(const http::Request& request, JsonLimits limits) {
  constexpr const char* where = "the body";
  if (const std::string* coding = request.headers.find("Content-Encoding");
      coding && !coding->empty() && !http::same_text(*coding, "identity"))
    throw ApiError{415, fmt::format("The body is encoded ({}); the server reads plain JSON alone.", quote(*coding))};
  if (request.body.find_first_not_of(" \t\r\n") == request.body.npos)
    throw Error("there is nothing, but a JSON object was expected").in(where);
  refuse_nul(request.body, where);
  nlohmann::ordered_json body = parse_ordered_json(request.body, where, limits);
  if (!body.is_object()) {
    const char* type = body.is_binary() ? "number" : body.type_name();  // an integer of many digits
    throw Error(fmt::format("a JSON object was expected, and not one {}", type)).in(where);
  }
  return body;
}

}  // namespace cachalot
