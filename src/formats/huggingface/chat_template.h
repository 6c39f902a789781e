// The chat templates of a checkpoint.
#pragma once

#include <filesystem>
#include <vector>

#include "formats/gguf/file.h"
#include "formats/gguf/writer.h"
#include "text/chat/chat_template.h"

namespace cachalot {

// Of a Hugging Face folder: chat_template.jinja, which is named "default", and additional_chat_templates/NAME.jinja;
// where there is neither, tokenizer_config.json's "chat_template": one text, a list of named ones, or a dictionary.
// Empty when there is none (a base model). Throws Error for another form.
std::vector<ChatTemplateSource> read_hf_chat_templates(const std::filesystem::path& folder);

// Of a GGUF file: tokenizer.chat_template and tokenizer.chat_template.NAME. Throws Error.
std::vector<ChatTemplateSource> read_gguf_chat_templates(const GgufFile& file);
// The metadata for these, named as llama.cpp's converter names it.
void write_gguf_chat_templates(const std::vector<ChatTemplateSource>& templates, GgufMetadata& out);

}  // namespace cachalot
