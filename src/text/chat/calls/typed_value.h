// Arguments that a model writes as plain text get the type that the tool declares.
#pragma once

#include <string>
#include <string_view>

#include "text/chat/tools.h"

namespace cachalot {

std::string json_string(std::string_view text);

// JSON for `value`. What is declared as a string stays as it is; numbers, booleans, null, lists and objects are read
// as what they are declared. Of several types (a list of types, anyOf, oneOf, nullable, enum) a string counts last.
// What has none of its types is a string, as is an argument that is not declared.
std::string typed_value(const Tools& tools, std::string_view tool, std::string_view argument, std::string_view value);

}  // namespace cachalot
