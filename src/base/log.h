// Lines for people, on stderr. Results never go through here.
#pragma once

#include <fmt/format.h>

#include <cstdio>

namespace cachalot {

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "cachalot: warning: {}\n", fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "cachalot: {}\n", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace cachalot
