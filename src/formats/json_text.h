// JSON from files that are not trusted: depth and number of values are bounded while parsing.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace cachalot {

struct JsonLimits {
  int depth = 64;
  size_t values = size_t{4} << 20;  // objects, lists and plain values together
};

// Parses `text`; `where` names it in errors. Of a key that appears twice the last counts, as in Python, and as there
// NaN, Infinity and -Infinity are numbers, as is what is too large for a double. Throws Error on anything else that
// is no JSON (RFC 8259; no comments) or exceeds the limits. Integers beyond 64 bits become doubles.
nlohmann::json parse_json(std::string_view text, std::string_view where, JsonLimits limits = {});
// The same with the keys of objects in the order of the text, as chat templates see them, and integers beyond 64 bits
// as binary values that hold their digits. An object has at most 2,048 members: each new one is compared with all.
nlohmann::ordered_json parse_ordered_json(std::string_view text, std::string_view where, JsonLimits limits = {});

// What the parser says of malformed text, fit for a message.
std::string json_complaint(const std::exception& error);

// The parser takes a NUL for the end of the text, so what follows would pass unseen. Throws Error.
void refuse_nul(std::string_view text, std::string_view where);

}  // namespace cachalot
