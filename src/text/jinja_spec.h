// Formatting of one value: what Python's % and str.format share. Used by jinja_format.cpp.
#pragma once

#include "text/jinja_value.h"

namespace cachalot::jinja {

// One conversion, of either kind.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > ^ =, or none given
  char sign = '-';    // + space -
  bool alternate = false;
  char grouping = '\0';  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

std::string pad(const Heap& heap, std::string_view text, const Spec& spec, char align);
// Sign, prefix and digits, filled up to the width.
std::string pad_number(const Heap& heap, bool negative, std::string_view prefix, std::string_view digits,
                       const Spec& spec);
std::string format_integer(const Heap& heap, int64_t number, const Spec& spec);
std::string format_real(const Heap& heap, double number, const Spec& spec);
std::string ascii_only(std::string_view text);  // as Python's ascii()
std::string first_letters(std::string_view text, int64_t count);
std::string letter_of(int64_t code);  // Failure when it is no code point
// format(value, spec)
std::string format_value(Heap& heap, const Value& value, std::string_view spec);

}  // namespace cachalot::jinja
