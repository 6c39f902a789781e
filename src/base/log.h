// Lines for people, on stderr. Results never go through here.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace cachalot {

// Writes to stderr. Where that is closed, full or a pipe that nobody reads, the text is lost and nothing else: what a
// command is asked for does not depend on who listens.
void say(std::string_view text) noexcept;

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  say(fmt::format("cachalot: warning: {}\n", fmt::format(format, std::forward<Args>(args)...)));
}

template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  say(fmt::format("cachalot: {}\n", fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace cachalot
