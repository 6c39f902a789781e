// What templates can call besides their own macros: filters, tests, methods and global functions, in tables of
// {name, parameters, function}. Names and behaviour are those of jinja2 3.1 and of Python's types.
#pragma once

#include <array>
#include <string_view>

#include "jinja/value.h"

namespace cachalot::jinja {

class Renderer;
struct Call;

struct Args {
  Values positional;
  std::vector<std::pair<AttributedText, Value>> named;
};

struct Builtin {
  std::string_view name;
  // Parameters behind the subject, separated by spaces; "x?" may be left out. A leading "/" means: by position only.
  // "*" means: the function reads the arguments itself.
  std::string_view parameters;
  Value (*run)(Call&);
};

// One call, with the arguments bound to the parameters (missing where not given).
struct Call {
  Renderer& renderer;
  Heap& heap;
  std::string_view name;
  Value self;  // what is filtered or tested, the object of a method; missing for global functions
  Args& args;
  std::array<Value, 6> bound;

  bool has(size_t i) const { return !bound[i].is_missing(); }
  const Value& operator[](size_t i) const { return bound[i]; }
  bool flag(size_t i, bool otherwise) const { return has(i) ? truthy(bound[i]) : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;  // Failure when given and not an int
  std::string_view text(size_t i) const;               // Failure when not a string
  Value text_of_self() const;                          // self when it is a string, else its str()
};

// A method with its object, or a global function.
struct Function : Object {
  const Builtin* builtin = nullptr;
  Value self;
};

// What cycler(…) and joiner(…) give.
struct Helper : Object {
  Values items;
  size_t at = 0;
  bool is_joiner = false;
};

// Null when there is none of that name.
const Builtin* find_filter(std::string_view name);
const Builtin* find_sequence_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_global(std::string_view name);
const Builtin* find_string_method(std::string_view name);
const Builtin* find_container_method(Kind kind, std::string_view name);

// Binds the arguments and runs.
Value run_builtin(Renderer& renderer, const Builtin& builtin, Value self, Args& args);

int64_t to_index(const Value& value);  // Failure when not an int

// Python's % and str.format (jinja_format.cpp).
Value format_percent(Heap& heap, const Value& format, const Value& values);
Value format_braces(Renderer& renderer, const Value& format, const Args& args);

struct JsonStyle {
  bool ascii = false;
  bool sorted = false;
  bool indented = false;
  AttributedText indent;
  AttributedText item_separator = written(", "), key_separator = written(": ");
};
AttributedText to_json(Heap& heap, const Value& value, const JsonStyle& style);

template <size_t N>
const Builtin* find_in(const Builtin (&table)[N], std::string_view name) {
  for (const Builtin& builtin : table) {
    if (builtin.name == name) return &builtin;
  }
  return nullptr;
}

}  // namespace cachalot::jinja
