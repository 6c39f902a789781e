#include "formats/huggingface/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/config.h"
#include "formats/foreign.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

using Sources = std::vector<ChatTemplateSource>;

// A name given twice means the later text.
void set(Sources& sources, std::string_view name, std::string text) {
  for (ChatTemplateSource& known : sources)
    if (known.name == name) return void(known.text = std::move(text));
  sources.push_back({std::string(name), std::move(text)});
}

// Those in tokenizer_config.json.
Sources configured_templates(const fs::path& config) {
  const Config settings = Config::read(config);
  Sources sources;
  if (!settings.has("chat_template")) return sources;
  const auto wrong = [&] {
    return Error("chat_template is neither a text nor a list or dictionary of named ones").in(settings.where());
  };
  const auto& value = settings.json()["chat_template"];
  if (value.is_string()) {
    set(sources, "default", value.get<std::string>());
  } else if (value.is_object()) {
    for (const auto& [name, text] : value.items()) {
      if (!text.is_string()) throw wrong();
      set(sources, name, text.get<std::string>());
    }
  } else if (value.is_array()) {
    for (const auto& entry : value) {
      const auto part = [&](const char* key) {
        if (!entry.is_object() || !entry.contains(key) || !entry[key].is_string()) throw wrong();
        return entry[key].template get<std::string>();
      };
      set(sources, part("name"), part("template"));
    }
  } else {
    throw wrong();
  }
  std::erase_if(sources, [](const ChatTemplateSource& source) { return source.text.empty(); });
  return sources;
}

// Those in files of their own.
Sources filed_templates(const fs::path& folder) {
  std::error_code code;
  Sources sources;
  if (const auto file = folder / "chat_template.jinja"; is_there(file))
    set(sources, "default", read_checkpoint_text(file));
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder / "additional_chat_templates", code))
    if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) set(sources, file.stem().string(), read_checkpoint_text(file));
  return sources;
}

}  // namespace

std::vector<ChatTemplateSource> read_hf_chat_templates(const fs::path& folder) {
  Sources sources = filed_templates(folder);
  const auto config = folder / "tokenizer_config.json";
  if (sources.empty() && is_there(config)) sources = configured_templates(config);
  return sources;
}

constexpr std::string_view kGgufTemplate = "tokenizer.chat_template";

std::vector<ChatTemplateSource> read_gguf_chat_templates(const GgufFile& file) {
  Sources sources;
  if (const auto text = file.text_or(kGgufTemplate, ""); !text.empty()) set(sources, "default", std::string(text));
  const std::string prefix = std::string(kGgufTemplate) + ".";
  for (const std::string_view key : file.keys())
    if (key.starts_with(prefix) && key.size() > prefix.size())
      set(sources, key.substr(prefix.size()), std::string(file.text(key)));
  return sources;
}

void write_gguf_chat_templates(const std::vector<ChatTemplateSource>& templates, GgufMetadata& out) {
  Sources named;
  for (const ChatTemplateSource& source : templates) {
    std::string name = source.name;
    for (char& c : name)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) c = '_';
    if (source.name == "default") {
      out.add(kGgufTemplate, source.text);
    } else if (!name.empty()) {
      set(named, name, source.text);
    }
  }
  if (named.empty()) return;
  std::vector<std::string> names;
  for (const ChatTemplateSource& source : named) {
    names.push_back(source.name);
    out.add(std::string(kGgufTemplate) + "." + source.name, source.text);
  }
  out.add_array("tokenizer.chat_templates", names);
}

}  // namespace cachalot
