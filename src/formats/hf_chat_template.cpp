#include "formats/hf_chat_template.h"

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/hf_config.h"

namespace cachalot {

std::string read_hf_chat_template(const std::filesystem::path& folder) {
  std::error_code code;
  const auto own_file = folder / "chat_template.jinja", config = folder / "tokenizer_config.json";
  if (std::filesystem::exists(own_file, code)) return read_text_file(own_file);
  if (!std::filesystem::exists(config, code)) return {};
  const Config settings = Config::read(config);
  if (!settings.has("chat_template")) return {};
  const auto& value = settings.json()["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array())
    for (const auto& entry : value)
      if (entry.is_object() && entry.value("name", nlohmann::json()) == "default" && entry.contains("template") &&
          entry["template"].is_string())
        return entry["template"].get<std::string>();
  throw Error("chat_template is neither a text nor a list with one named 'default'").in(settings.where());
}

}  // namespace cachalot
