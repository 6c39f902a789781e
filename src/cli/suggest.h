// "Did you mean …?" for mistyped commands and options.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// The one of `known` that is fewest edits away from `word`; "" when all are too far away to be meant.
std::string likeliest(std::string_view word, const std::vector<std::string>& known);

std::vector<std::string> command_names(const CLI::App& program);
std::vector<std::string> long_options(const CLI::App& command);  // with their dashes

}  // namespace cachalot
