// Reads qwen.tiktoken, the vocabulary of Qwen 1: one line per token, its bytes in base64, a space and its rank, which
// is its id. What the file does not say is fixed by the released tokenization_qwen.py: normal form C, Qwen's
// pre-tokeniser, and 208 special tokens behind the last rank. The file is hostile: sizes are bounded.
#pragma once

#include <filesystem>
#include <string_view>

#include "text/vocab.h"

namespace cachalot {

inline constexpr const char* kQwenTiktoken = "qwen.tiktoken";  // in a checkpoint's folder

// Throws Error naming the line: malformed base64, a token that is empty, too long or listed twice, ranks that are
// not 0, 1, … each once (in any order), or when one of the 256 single bytes is missing. Empty lines are skipped.
Vocabulary read_qwen_tiktoken(const std::filesystem::path& file);

// The same from the file's text; `where` names it in errors.
Vocabulary parse_qwen_tiktoken(std::string_view text, std::string_view where);

}  // namespace cachalot
