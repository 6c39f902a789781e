#include "formats/hf_chat_template.h"

#include "base/error.h"
#include "formats/foreign.h"
#include "formats/hf_config.h"
#include "formats/tiktoken.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

// ChatML as make_context of the released qwen_generation_utils.py writes it, with the system text of chat().
constexpr const char* kQwen1Template =
    "{%- if messages and messages[0]['role'] == 'system' -%}\n"
    "    {%- set system = messages[0]['content'] -%}\n"
    "    {%- set turns = messages[1:] -%}\n"
    "{%- else -%}\n"
    "    {%- set system = 'You are a helpful assistant.' -%}\n"
    "    {%- set turns = messages -%}\n"
    "{%- endif -%}\n"
    "{{- '<|im_start|>system\\n' ~ system ~ '<|im_end|>' -}}\n"
    "{%- for turn in turns -%}\n"
    "    {{- '\\n<|im_start|>' ~ turn['role'] ~ '\\n' ~ turn['content'] ~ '<|im_end|>' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "    {{- '\\n<|im_start|>assistant\\n' -}}\n"
    "{%- endif -%}\n";

// The template in tokenizer_config.json, empty when there is none.
std::string configured_template(const fs::path& config) {
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

bool is_qwen1_chat(const fs::path& folder) {
  std::error_code code;
  const auto generation = folder / "generation_config.json";
  return fs::exists(folder / kQwenTiktoken, code) && fs::exists(generation, code) &&
         Config::read(generation).text_or("chat_format", "") == "chatml";
}

}  // namespace

std::string read_hf_chat_template(const fs::path& folder) {
  std::error_code code;
  const auto own_file = folder / "chat_template.jinja", config = folder / "tokenizer_config.json";
  if (fs::exists(own_file, code)) return read_checkpoint_text(own_file);
  std::string found = fs::exists(config, code) ? configured_template(config) : "";
  return found.empty() && is_qwen1_chat(folder) ? kQwen1Template : found;
}

}  // namespace cachalot
