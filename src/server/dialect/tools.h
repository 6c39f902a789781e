// Definitions of tools. Templates take them as {"type": "function", "function": {"name": …, "description": …,
// "parameters": …}}; dialects that have another shape map theirs to it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "server/dialect/value.h"

namespace cachalot::dialect {

constexpr size_t kMostTools = 128;

// One function: a name that a model can write in every form of calls, perhaps a description, and perhaps the schema
// of an object, which is the member of that name. Throws an ApiError.
void check_function(const Value& function, std::string_view schema = "parameters");

// That each tool of a list has a name of its own.
class ToolNames {
 public:
  // Throws an ApiError when it was added before.
  void add(const Value& name);

 private:
  std::map<std::string, std::string> paths_;  // of names
};

}  // namespace cachalot::dialect
