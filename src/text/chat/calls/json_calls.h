// Calls that a model writes as JSON objects: {"name": …, "arguments": {…}}.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/chat/calls/call_reader.h"
#include "text/chat/calls/json_scanner.h"

namespace cachalot {

// What the member "arguments" of a call says: the object as the model wrote it, or as a string that holds it; absent
// or null there are none. No value when it is something else.
std::optional<std::string> arguments_text(std::string_view json);

// The calls of a scanned object, or of a list of objects; none when one of them is no call. "parameters" is another
// name of "arguments". `complete`: an object that names no arguments at all is no call.
std::vector<ToolCall> calls_of_json(std::string_view json, const JsonScanner& scanned, bool complete = false);

}  // namespace cachalot
