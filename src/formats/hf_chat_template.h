// The chat template of a Hugging Face folder.
#pragma once

#include <filesystem>
#include <string>

namespace cachalot {

// chat_template.jinja, or else tokenizer_config.json's "chat_template": one text, or a list of named ones, of which
// "default" is taken. Empty when there is none (a base model). Throws Error for another form.
std::string read_hf_chat_template(const std::filesystem::path& folder);

}  // namespace cachalot
