// JSON as it is sent: keys in the order in which they were written.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace cachalot::dialect {

using Json = nlohmann::ordered_json;

// Texts are valid UTF-8 but where a client's own come back; what is malformed there becomes U+FFFD.
inline std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// An object with another's members behind its own.
inline Json with(Json object, Json more) {
  for (auto& [name, value] : more.items()) object[name] = std::move(value);
  return object;
}

}  // namespace cachalot::dialect
