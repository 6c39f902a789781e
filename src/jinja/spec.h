// Formatting of one value: what Python's % and str.format share. Used by jinja_format.cpp.
#pragma once

#include "jinja/value.h"

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

AttributedText pad(const Heap& heap, const AttributedText& text, const Spec& spec, char align);
// Sign, prefix and digits, filled up to the width.
std::string pad_number(const Heap& heap, bool negative, std::string_view prefix, std::string_view digits,
                       const Spec& spec);
std::string format_integer(const Heap& heap, int64_t number, const Spec& spec);
std::string format_real(const Heap& heap, double number, const Spec& spec);
AttributedText ascii_only(const AttributedText& text);  // as Python's ascii()
AttributedText first_letters(const AttributedText& text, int64_t count);
AttributedText letter_of(int64_t code);  // as said: a number does not tell; Failure when it is no code point
// format(value, spec)
AttributedText format_value(Heap& heap, const Value& value, const AttributedText& spec);

}  // namespace cachalot::jinja
