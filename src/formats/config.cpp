#include "formats/config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/json_text.h"

namespace cachalot {

static constexpr size_t kMaxConfigBytes = 16 << 20;

// A short rendering of what a key holds, for messages.
static std::string shown(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_number_float() && !std::isfinite(value.get<double>()))  // JSON has no words for them
    return std::isnan(value.get<double>()) ? "NaN" : value.get<double>() < 0 ? "-Infinity" : "Infinity";
  const std::string text = quote(value.dump(-1, ' ', true), 60);
  return text.substr(1, text.size() - 2);
}

// transformers 5 writes numbers that JSON has no words for as {"__float__": "Infinity"}.
static void decode_tagged_floats(nlohmann::json& value) {
  if (!value.is_structured()) return;
  if (value.is_object() && value.size() == 1 && value.begin().key() == "__float__") {
    const nlohmann::json tag = *value.begin();
    if (tag == "NaN") value = std::numeric_limits<double>::quiet_NaN();
    if (tag == "Infinity") value = std::numeric_limits<double>::infinity();
    if (tag == "-Infinity") value = -std::numeric_limits<double>::infinity();
    return;
  }
  for (auto& item : value) decode_tagged_floats(item);
}

Config::Config(nlohmann::json json, std::string where)
    : json_(std::make_shared<const nlohmann::json>(std::move(json))), where_(std::move(where)) {
  if (!json_->is_object()) throw Error(fmt::format("this is {}, not a JSON object", shown(*json_))).in(where_);
}

Config Config::read(const std::filesystem::path& file) {
  nlohmann::json json = parse_json(read_checkpoint_text(file, kMaxConfigBytes), file.string());
  decode_tagged_floats(json);
  return Config(std::move(json), file.string());
}

Config Config::with_defaults(const Defaults& defaults) const {
  nlohmann::json json = nlohmann::json::object();
  for (const Default& d : defaults) std::visit([&](const auto& value) { json[std::string(d.key)] = value; }, d.value);
  json.update(*json_);
  return Config(std::move(json), where_);
}

Config Config::with(std::string_view key, nlohmann::json value) const {
  nlohmann::json json = *json_;
  json[std::string(key)] = std::move(value);
  return Config(std::move(json), where_);
}

Config Config::with_alias(std::string_view alias, std::string_view key) const {
  const auto found = json_->find(alias);
  return found == json_->end() ? *this : with(key, *found);
}

const nlohmann::json* Config::value(std::string_view key) const {
  const auto found = json_->find(key);
  return found == json_->end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::json& Config::required(std::string_view key) const {
  const auto* found = value(key);
  if (!found) throw Error(fmt::format("the key {} is missing", quote(key))).in(where_);
  return *found;
}

Error Config::wrong(std::string_view key, const nlohmann::json& value, std::string_view expected) const {
  return Error(fmt::format("{} = {}", key, shown(value))).in(where_).because(fmt::format("{} is expected", expected));
}

bool Config::has(std::string_view key) const { return value(key) != nullptr; }

bool Config::says_null(std::string_view key) const {
  const auto found = json_->find(key);
  return found != json_->end() && found->is_null();
}

int Config::checked_integer(std::string_view key, const nlohmann::json& value, int min, int max) const {
  // Python writes whole numbers as floats now and then (32768.0).
  const bool whole = value.is_number_integer() || (value.is_number_float() && std::nearbyint(double(value)) == value);
  const double number = value.is_number() ? value.get<double>() : 0;  // exact where it matters: |min|, |max| < 2^31
  if (!whole || number < min || number > max)
    throw wrong(key, value, fmt::format("a whole number from {} to {}", min, max));
  return static_cast<int>(number);
}

double Config::checked_number(std::string_view key, const nlohmann::json& value) const {
  if (!value.is_number() || !std::isfinite(value.get<double>())) throw wrong(key, value, "a finite number");
  return value.get<double>();
}

int Config::integer(std::string_view key, int min, int max) const {
  return checked_integer(key, required(key), min, max);
}

int Config::integer_or(std::string_view key, int fallback, int min, int max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double Config::number(std::string_view key) const { return checked_number(key, required(key)); }

double Config::number_or(std::string_view key, double fallback) const { return has(key) ? number(key) : fallback; }

bool Config::boolean_or(std::string_view key, bool fallback) const {
  const auto* found = value(key);
  if (!found) return fallback;
  if (!found->is_boolean()) throw wrong(key, *found, "true or false");
  return found->get<bool>();
}

std::string Config::text(std::string_view key) const {
  const auto& found = required(key);
  if (!found.is_string()) throw wrong(key, found, "a text");
  return found.get<std::string>();
}

std::string Config::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

std::vector<std::string> Config::texts(std::string_view key) const {
  const auto* found = value(key);
  if (!found) return {};
  if (!found->is_array()) throw wrong(key, *found, "a list of texts");
  std::vector<std::string> texts;
  for (const auto& item : *found) {
    if (!item.is_string()) throw wrong(fmt::format("{}[{}]", key, texts.size()), item, "a text");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

std::vector<int> Config::integers(std::string_view key) const {
  constexpr int most = 1 << 30;
  const auto* found = value(key);
  if (!found) return {};
  if (!found->is_array()) return {checked_integer(key, *found, -most, most)};
  std::vector<int> numbers;
  for (const auto& item : *found)
    numbers.push_back(checked_integer(fmt::format("{}[{}]", key, numbers.size()), item, -most, most));
  return numbers;
}

std::vector<double> Config::numbers(std::string_view key) const {
  const auto* found = value(key);
  if (!found) return {};
  if (!found->is_array()) throw wrong(key, *found, "a list of numbers");
  std::vector<double> numbers;
  for (const auto& item : *found) numbers.push_back(checked_number(fmt::format("{}[{}]", key, numbers.size()), item));
  return numbers;
}

std::optional<Config> Config::object(std::string_view key) const {
  const auto* found = value(key);
  if (!found) return std::nullopt;
  if (!found->is_object()) throw wrong(key, *found, "an object");
  return Config(*found, fmt::format("{}: {}", where_, key));
}

}  // namespace cachalot
