// The configuration of a checkpoint. One vocabulary of keys, Hugging Face's config.json, for every container: what
// GGUF says is translated into it (model/gguf_config.h). Getters check type and range and name the file in their
// errors.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace cachalot {

// What a key means where a config lacks it.
struct Default {
  std::string_view key;
  std::variant<bool, int, double, std::string_view> value;
};
using Defaults = std::vector<Default>;

class Config {
 public:
  // `where` names the file in errors. `json` must be an object (throws Error).
  Config(nlohmann::json json, std::string where);
  // Reads and parses FOLDER/config.json: size and depth are bounded. Getters take a key whose value is null for
  // absent.
  static Config read(const std::filesystem::path& file);

  // The same config with each key of `defaults` that it lacks; a key whose value is null is there and stays null.
  // Of several defaults for one key the last counts.
  Config with_defaults(const Defaults& defaults) const;
  // The same config with what it has under `alias` under `key`, which it replaces.
  Config with_alias(std::string_view alias, std::string_view key) const;
  Config with(std::string_view key, nlohmann::json value) const;

  bool has(std::string_view key) const;        // present and not null
  bool says_null(std::string_view key) const;  // present and null
  // Each throws Error when the key is absent (without a fallback), of another type, or out of [min, max].
  int integer(std::string_view key, int min = 0, int max = 1 << 30) const;
  int integer_or(std::string_view key, int fallback, int min = 0, int max = 1 << 30) const;
  double number(std::string_view key) const;  // finite
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  std::vector<std::string> texts(std::string_view key) const;  // a list of strings; empty when absent
  std::vector<int> integers(std::string_view key) const;       // a list of integers or one integer; empty when absent
  std::vector<double> numbers(std::string_view key) const;     // a list of finite numbers; empty when absent
  std::optional<Config> object(std::string_view key) const;  // a nested object, its errors saying "config.json: key"

  const nlohmann::json& json() const { return *json_; }
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json* value(std::string_view key) const;  // nullptr when absent or null
  const nlohmann::json& required(std::string_view key) const;
  Error wrong(std::string_view key, const nlohmann::json& value, std::string_view expected) const;
  int checked_integer(std::string_view key, const nlohmann::json& value, int min, int max) const;
  double checked_number(std::string_view key, const nlohmann::json& value) const;

  std::shared_ptr<const nlohmann::json> json_;  // never null
  std::string where_;
};

}  // namespace cachalot
