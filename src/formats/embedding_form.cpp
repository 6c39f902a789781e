#include "formats/embedding_form.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/quote.h"
#include "formats/foreign.h"
#include "formats/gguf/file.h"
#include "formats/json_text.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kLargestFile = size_t{1} << 20;  // bytes
constexpr std::string_view kMade = "embeddings are made of the last row, the first one, or the mean of all";

json read_json(const fs::path& file) {
  return parse_json(read_checkpoint_text(file, kLargestFile), file.string(), {.depth = 8, .values = 1 << 14});
}

Error unsupported(std::string_view what) { return Error(fmt::format("{} is not supported", what)).because(kMade); }

// -- sentence-transformers

struct Mode {
  std::string_view name, flag;
  std::optional<Pooling> pooling;
};
constexpr Mode kModes[] = {{"cls", "pooling_mode_cls_token", Pooling::first},
                           {"mean", "pooling_mode_mean_tokens", Pooling::mean},
                           {"lasttoken", "pooling_mode_lasttoken", Pooling::last},
                           {"max", "pooling_mode_max_tokens", {}},
                           {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", {}},
                           {"weightedmean", "pooling_mode_weightedmean_tokens", {}}};

// The modes that are on, by a flag each or, lately, by a name or several; the mean where none is.
std::vector<std::string> modes_of(const json& config) {
  std::vector<std::string> modes;
  if (const auto named = config.find("pooling_mode"); named != config.end()) {
    for (const json& mode : named->is_array() ? *named : json::array({*named})) {
      if (!mode.is_string()) throw Error("'pooling_mode' is neither a name nor a list of names");
      modes.push_back(mode.get<std::string>());
    }
    return modes;
  }
  for (const Mode& mode : kModes) {
    const auto flag = config.find(mode.flag);
    if (flag != config.end() && !flag->is_boolean())
      throw Error(fmt::format("'{}' is neither true nor false", mode.flag));
    if (flag != config.end() && flag->get<bool>()) modes.emplace_back(mode.name);
  }
  if (modes.empty()) modes.emplace_back("mean");
  return modes;
}

Pooling pooling_of(const json& config) {
  if (!config.is_object()) throw Error("the file does not hold an object");
  const auto modes = modes_of(config);
  if (modes.size() != 1)
    throw Error(fmt::format("{} ways to pool are asked for ({})", modes.size(), fmt::join(modes, ", ")))
        .because(kMade);
  for (const Mode& mode : kModes)
    if (mode.name == modes[0] && mode.pooling) return *mode.pooling;
  throw unsupported(fmt::format("the way {} to pool", quote(modes[0])));
}

void read_pooling(const fs::path& file, EmbeddingForm& form) {
  const json config = read_json(file);
  try {
    form.pooling = pooling_of(config);
    form.said_by = file.string();
  } catch (Error& error) { throw std::move(error).in(file.string()); }
}

// A module's folder: a name, as it is hostile.
std::string folder_of(const json& module) {
  const auto path = module.find("path");
  const std::string name = path != module.end() && path->is_string() ? path->get<std::string>() : "";
  const bool plain = !name.empty() && name.size() <= 100 && name[0] != '.' &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
  if (!plain) throw Error(fmt::format("the path {} of a module is no folder's name", quote(name)));
  return name;
}

// Lately with other modules' names before it: its last part says what a module is.
std::string type_of(const json& module) {
  const auto type = module.is_object() ? module.find("type") : module.end();
  if (!module.is_object() || type == module.end() || !type->is_string()) throw Error("a module has no text 'type'");
  const std::string name = type->get<std::string>();
  const auto dot = name.rfind('.');
  return dot == name.npos ? name : name.substr(dot + 1);
}

// The list of what a text passes: the model, then the pooling, then perhaps the normalisation.
void read_modules(const fs::path& folder, const json& modules, EmbeddingForm& form) {
  if (!modules.is_array() || modules.empty() || type_of(modules[0]) != "Transformer")
    throw Error("the list of modules does not begin with a Transformer");
  bool normalized = false;
  for (size_t i = 1; i < modules.size(); ++i) {
    const std::string type = type_of(modules[i]);
    const bool pooled = !form.said_by.empty();
    if (type == "Pooling" && !pooled)
      read_pooling(folder / folder_of(modules[i]) / "config.json", form);
    else if (type == "Normalize" && pooled)
      normalized = true;
    else
      throw unsupported(fmt::format("the module {} at place {}", quote(type), i));
  }
  if (!form.said_by.empty()) form.normalized = normalized;
}

void read_folder(const fs::path& folder, EmbeddingForm& form) {
  const fs::path modules = folder / "modules.json", alone = folder / "1_Pooling" / "config.json";
  if (!is_there(modules)) {
    if (is_there(alone)) read_pooling(alone, form);
    return;
  }
  const json list = read_json(modules);
  try {
    read_modules(folder, list, form);
  } catch (Error& error) { throw std::move(error).in(modules.string()); }
}

// -- GGUF

// In the order of llama.cpp's numbers; 0 says that rows are not pooled, which says nothing of how they might be.
constexpr std::optional<Pooling> kTypes[] = {{}, Pooling::mean, Pooling::first, Pooling::last};
constexpr int64_t kRank = 4;

void read_gguf(const GgufFile& file, EmbeddingForm& form) {
  const std::string key = fmt::format("{}.pooling_type", file.text_or("general.architecture", ""));
  if (!file.has(key)) return;
  const int64_t type = file.integer(key, -1, 1 << 30);
  if (type == kRank)
    throw Error("the model ranks texts beside a question; it makes no embeddings")
        .in(file.where())
        .because(fmt::format("{} = {}", key, type));
  if (type > kRank)
    throw unsupported(fmt::format("the way {} to pool", type)).in(fmt::format("{}: {}", file.where(), key));
  if (type <= 0) return;
  form.pooling = *kTypes[type];
  form.said_by = fmt::format("{}: {}", file.where(), key);
}

}  // namespace

uint32_t gguf_pooling_type(Pooling pooling) {
  return static_cast<uint32_t>(std::find(std::begin(kTypes), std::end(kTypes), pooling) - std::begin(kTypes));
}

EmbeddingForm read_embedding_form(const Checkpoint& checkpoint) {
  EmbeddingForm form;
  try {
    if (checkpoint.gguf())
      read_gguf(*checkpoint.gguf(), form);
    else
      read_folder(checkpoint.path(), form);
  } catch (Error& error) { form.refusal = std::move(error).hint("other commands and endpoints do not need this"); }
  return form;
}

}  // namespace cachalot
