// The chat template of a Hugging Face folder.
#pragma once

#include <filesystem>
#include <string>

namespace cachalot {

// chat_template.jinja, or else tokenizer_config.json's "chat_template": one text, or a list of named ones, of which
// "default" is taken. Qwen 1's chat checkpoints carry no template: for a folder with qwen.tiktoken whose
// generation_config.json says "chat_format": "chatml" it is ChatML, as the released code writes it. (That code
// encodes "ROLE\n" and the content apart: a content that begins with a newline gives other ids there.) Empty when
// there is none (a base model). Throws Error for another form.
std::string read_hf_chat_template(const std::filesystem::path& folder);

}  // namespace cachalot
