// "Did you mean …?" for mistyped commands and options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// The one of `known` that is fewest edits away from `word`; "" when all are too far away to be meant.
std::string likeliest(std::string_view word, const std::vector<std::string>& known);

}  // namespace cachalot
