// One value of a request's body, which says what it ought to be when it is something else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"
#include "server/dialect/json.h"

namespace cachalot::dialect {

// 400, for the value of a field.
ApiError bad_field(std::string_view name, std::string_view why);

struct Value {
  std::string path;  // "stop", "messages[2].content"
  const Json& json;  // never null: null counts as absent, in every place

  // Each throws an ApiError that names the path, what was expected, and the value.
  const std::string& text() const;
  bool flag() const;
  int64_t integer(int64_t low, int64_t high) const;
  uint64_t seed() const;  // any integer of 64 bits, with or without sign
  double number(double low, double high) const;
  int token(int vocab) const;
  const Json& object() const;
  // With at most so many items.
  std::vector<Value> list(size_t most) const;
  std::vector<int> tokens(size_t most, int vocab) const;

  Value at(size_t index) const;
  Value member(std::string_view name) const;  // which must be there
  [[noreturn]] void refuse(std::string_view why) const;
  // "must be …, not …".
  [[noreturn]] void expect(std::string_view what) const;
};

// The member of an object, or nullptr when it is absent or null.
const Json* find(const Json& object, std::string_view name);

}  // namespace cachalot::dialect
