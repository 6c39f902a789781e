// What config.json and GGUF's metadata say in ways too different for a table of keys, in both directions: how RoPE is
// scaled, and which layers have windows.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "formats/gguf/writer.h"
#include "model/family.h"
#include "model/gguf_reader.h"

namespace cachalot {

// Adds keys under the architecture's name.
class ArchitectureKeys {
 public:
  ArchitectureKeys(std::string_view architecture, const Config& config, GgufMetadata& out)
      : architecture_(architecture), config_(config), out_(out) {}

  void add(std::string_view name, int value) { out_.add(key(name), static_cast<uint32_t>(value)); }
  void add(std::string_view name, double value) { out_.add(key(name), static_cast<float>(value)); }
  void add(std::string_view name, bool value) { out_.add(key(name), value); }
  void add(std::string_view name, const char* value) { out_.add(key(name), value); }
  void add(std::string_view name, const std::vector<bool>& values) { out_.add_array(key(name), values); }

  const Config& config() const { return config_; }
  Error cannot(std::string_view what) const;  // be written

 private:
  std::string key(std::string_view name) const;

  std::string_view architecture_;
  const Config& config_;
  GgufMetadata& out_;
};

// `config` has head_dim where the family has stored divisors.
void read_rope_scaling(const GgufReader& in, const GgufWords& words, nlohmann::json& config);
void write_rope_scaling(const RopeSpec& rope, const GgufWords& words, ArchitectureKeys& out);

// `config` has num_hidden_layers.
void read_windows(const GgufReader& in, nlohmann::json& config);
void write_windows(const ModelSpec& spec, ArchitectureKeys& out);

}  // namespace cachalot
