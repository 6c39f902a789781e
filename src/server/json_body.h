// Bodies that are JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "formats/json_text.h"
#include "server/http.h"

namespace cachalot {

constexpr JsonLimits kBodyJson = {.depth = 64, .values = size_t{1} << 20};

// The object that a request's body is; its keys in the order of the text. Whatever Content-Type says: clients say all
// sorts of things of JSON. Throws Error that says what is wrong, and ApiError for a body that is compressed.
nlohmann::ordered_json json_body(const http::Request& request, JsonLimits limits = kBodyJson);

}  // namespace cachalot
