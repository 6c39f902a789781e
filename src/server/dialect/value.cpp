#include "server/dialect/value.h"

#include <fmt/format.h>

#include <cmath>

#include "base/quote.h"

namespace cachalot::dialect {

ApiError bad_field(std::string_view name, std::string_view why) {
  return {400, fmt::format("{}: {}", name, why), {}, std::string(name)};
}

const Json* find(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// As a message shows it: short, and nothing that a terminal would act on.
static std::string shown(const Json& json) {
  if (json.is_binary()) return "an integer beyond 64 bits";
  if (json.is_number_float() && !std::isfinite(json.get<double>()))
    return std::isnan(json.get<double>()) ? "NaN" : "an infinite number";
  const std::string text = quote(json.dump(-1, ' ', true, Json::error_handler_t::replace), 60);
  return text.substr(1, text.size() - 2);
}

void Value::refuse(std::string_view why) const { throw bad_field(path, why); }

void Value::expect(std::string_view what) const { refuse(fmt::format("must be {}, not {}", what, shown(json))); }

const std::string& Value::text() const {
  if (!json.is_string()) expect("a string");
  return json.get_ref<const std::string&>();
}

bool Value::flag() const {
  if (!json.is_boolean()) expect("true or false");
  return json.get<bool>();
}

// Clients whose language has one kind of number write 5.0 for 5.
int64_t Value::integer(int64_t low, int64_t high) const {
  const std::string what = fmt::format("an integer between {} and {}", low, high);
  if (json.is_number_float()) {
    const double number = json.get<double>();
    if (number != std::nearbyint(number) || std::abs(number) > 0x1p53) expect(what);
  } else if (!json.is_number_integer()) {
    expect(what);
  }
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) expect(what);
  const auto value = json.get<int64_t>();
  if (value < low || value > high) expect(what);
  return value;
}

uint64_t Value::seed() const {
  if (json.is_number_unsigned()) return json.get<uint64_t>();
  if (json.is_number_integer()) return static_cast<uint64_t>(json.get<int64_t>());
  if (json.is_number_float()) return static_cast<uint64_t>(integer(INT64_MIN, INT64_MAX));
  expect("an integer of 64 bits");
}

double Value::number(double low, double high) const {
  const std::string what = fmt::format("a number between {} and {}", low, high);
  if (!json.is_number()) expect(what);
  const auto value = json.get<double>();
  if (!(value >= low && value <= high)) expect(what);  // NaN is neither
  return value;
}

int Value::token(int vocab) const {
  if (!json.is_number()) expect("a token's id");
  const bool whole = json.is_number_integer() || json.get<double>() == std::nearbyint(json.get<double>());
  if (!whole) expect("a token's id");
  if (json.get<double>() < 0 || json.get<double>() >= vocab)
    refuse(fmt::format("the model's vocabulary ends at {}; there is no token {}", vocab - 1, shown(json)));
  return json.get<int>();
}

const Json& Value::object() const {
  if (!json.is_object()) expect("an object");
  return json;
}

std::vector<Value> Value::list(size_t most) const {
  if (!json.is_array()) expect("a list");
  if (json.size() > most) refuse(fmt::format("has {} items; at most {} are taken", json.size(), most));
  std::vector<Value> items;
  items.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) items.push_back(at(i));
  return items;
}

std::vector<int> Value::tokens(size_t most, int vocab) const {
  if (!json.is_array()) expect("a list of token ids");
  if (json.size() > most) refuse(fmt::format("has {} tokens; at most {} are taken", json.size(), most));
  std::vector<int> ids;
  ids.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) ids.push_back(at(i).token(vocab));
  return ids;
}

Value Value::at(size_t index) const { return {fmt::format("{}[{}]", path, index), json[index]}; }

Value Value::member(std::string_view name) const {
  const std::string whole = fmt::format("{}.{}", path, name);
  const Json* found = find(object(), name);
  if (!found) throw bad_field(whole, "is missing");
  return {whole, *found};
}

}  // namespace cachalot::dialect
