#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace cachalot {

bool is_terminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

Style style_of(std::FILE* stream) {
  const char *term = std::getenv("TERM"), *no_color = std::getenv("NO_COLOR");
  const bool plain = !term || std::string_view(term) == "dumb" || (no_color && *no_color);
  if (plain || !is_terminal(stream)) return {};
  return {.dim = "\033[2m", .bold = "\033[1m", .plain = "\033[0m"};
}

std::string printable(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (byte == 0x7f) {
      out += "\u2421";
    } else if (byte < 0x20 && byte != '\n' && byte != '\t') {
      out += {'\xe2', '\x90', static_cast<char>(0x80 + byte)};  // U+2400 + byte
    } else if (c1) {
      out += "\ufffd";
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

[[noreturn]] static void cannot_write() { throw Error("the output cannot be written").because(std::strerror(errno)); }

void print_text_as_it_is(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) cannot_write();
}

void print_text(std::string_view text) { print_text_as_it_is(is_terminal(stdout) ? printable(text) : text); }

void flush_text() {
  if (std::fflush(stdout) != 0) cannot_write();
}

void print_whole_text(std::string_view text) {
  print_text(text);
  if (is_terminal(stdout) && !text.empty() && text.back() != '\n') print_text("\n");
}

static std::string scaled(double value, const std::array<const char*, 5>& units, double step = 1000) {
  size_t unit = 0;
  while (std::abs(value) >= 999.5 && unit + 1 < units.size()) {
    value /= step;
    ++unit;
  }
  const std::string number = unit == 0 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
  return *units[unit] ? number + " " + units[unit] : number;
}

std::string bytes_text(int64_t bytes) {
  return scaled(static_cast<double>(bytes), {"bytes", "kB", "MB", "GB", "TB"});
}
std::string memory_text(int64_t bytes) {
  return scaled(static_cast<double>(bytes), {"bytes", "KiB", "MiB", "GiB", "TiB"}, 1024);
}
std::string count_text(int64_t count) { return scaled(static_cast<double>(count), {"", "k", "M", "B", "T"}); }
std::string rate_text(double per_second) {
  return fmt::format("{:.{}f}", per_second, per_second >= 99.95 ? 0 : per_second >= 9.995 ? 1 : 2);
}

}  // namespace cachalot
