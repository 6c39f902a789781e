// Jinja templates, as checkpoints ship them for their chats. Our own interpreter; the language and the environment
// are those of jinja2 3.1 as transformers sets it up: trim_blocks, lstrip_blocks, no HTML escaping, the immutable
// sandbox, break and continue, {% generation %}, tojson that keeps non-ASCII, raise_exception, strftime_now.
//
// Not supported, each an Error that says so: recursive loops, template inheritance and includes, {% autoescape %},
// integers beyond 64 bits, a few filters and methods that chats do not use. jinja2 evaluates expressions of constants
// while it compiles, where a senseless slice like {{ 5[1:] }} prints nothing; here it is an error as everywhere else.
// Tests: tests/jinja/template_test.cpp.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "jinja/value.h"

namespace cachalot::jinja {

struct Program;

// Whether the language has a function of this name, which a variable of that name would hide.
bool is_global(std::string_view name);

class Template {
 public:
  // Parses. Throws Error, naming the line, when the source is not a template, not UTF-8 or longer than 1 MiB.
  explicit Template(std::string_view source);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Renders with the members of the object `variables`. Throws Error, naming the line, when the template fails, calls
  // raise_exception, or passes a limit. May be called by several threads at once.
  std::string render(const nlohmann::ordered_json& variables, const Limits& limits = {}) const;
  // The same, keeping apart what was said: `attribution` notes it for the strings below `variables`, and whatever the
  // template makes of said text is said text. Strings that `attribution` does not have are the template's.
  AttributedText render(const nlohmann::ordered_json& variables, const Attribution& attribution,
                        const Limits& limits = {}) const;

 private:
  std::unique_ptr<const Program> program_;
};

}  // namespace cachalot::jinja
