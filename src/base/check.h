// CHECK(condition, format, args…): a broken promise between our own functions. Always on; prints and aborts.
// DCHECK is the same in debug and sanitizer builds and nothing elsewhere (for kernels).
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace cachalot::detail {
[[noreturn]] inline void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  const std::string text = fmt::format("cachalot: bug at {}:{}: CHECK({}) failed{}{}\n", file, line, condition,
                                       message.empty() ? "" : ": ", message);
  std::fputs(text.c_str(), stderr);  // and not fmt::print, which throws where stderr is closed
  std::abort();
}
}  // namespace cachalot::detail

#define CHECK(condition, ...)   \
  (static_cast<bool>(condition) \
       ? void(0)                \
       : ::cachalot::detail::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)))

#ifdef NDEBUG
#define DCHECK(condition, ...) void(0)
#else
#define DCHECK(condition, ...) CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
