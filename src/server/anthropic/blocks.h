// Blocks of content, as text.
#pragma once

#include <string>

#include "server/anthropic/fields.h"

namespace cachalot::anthropic {

constexpr size_t kMostBlocks = 65'536;

// Texts that stand beside each other, each on lines of its own.
void add_lines(std::string& text, std::string_view more);

// What the system says: a text, or blocks of text. The line by which Claude Code tells its version and whose request
// this is changes with them, and with it all that is computed behind it; it is not for the model and left out.
std::string system_text(const Value& content, ToolMentions& mentions);

// A block that a user, or a tool's result, may have: text, or what is text in it. Throws an ApiError for others.
std::string block_text(const Value& block, ToolMentions& mentions);

// The content of a tool's result: a text or blocks, or nothing.
std::string result_text(const Value& result, ToolMentions& mentions);

}  // namespace cachalot::anthropic
