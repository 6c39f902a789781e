// What a person sees: colours where the terminal has them, safe text, readable numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace cachalot {

bool is_terminal(std::FILE* stream);

// Escape sequences for a stream; empty when it is no terminal, TERM is "dumb" or NO_COLOR is set.
struct Style {
  std::string_view dim, bold, plain;
};
Style style_of(std::FILE* stream);

// `text` for a terminal: control characters but line breaks and tabs become their pictures (␛), so that what a model
// or a file says cannot move the cursor or change the terminal's settings.
std::string printable(std::string_view text);

// Results. Written as they are, or made printable when stdout is a terminal. Throws Error when it cannot be written,
// so that nothing is computed for nobody.
void print_text(std::string_view text);
void print_text_as_it_is(std::string_view text);
void flush_text();
// The same as a whole result: on a terminal its last line is ended for the prompt's sake.
void print_whole_text(std::string_view text);

std::string bytes_text(int64_t bytes);     // "1.23 GB", decimal
std::string memory_text(int64_t bytes);    // "1.14 GiB", binary, as the system counts its memory
std::string count_text(int64_t count);     // "1.78 B" of parameters, "12.3 M", "512"
std::string rate_text(double per_second);  // "1234", "56.7", "0.89"

}  // namespace cachalot
