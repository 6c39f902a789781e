// How a checkpoint's answers are written.
#pragma once

#include <optional>

#include "text/chat/chat_template.h"
#include "text/chat/reply_format.h"

namespace cachalot {

// Of the family's ends of reasoning the first that the template writes before an answer's text, where it writes one;
// of its forms of calls the first that reads a call that the template has written; where it writes none, the first
// that it mentions; else the family's first. Never throws.
ReplyFormat reply_format(const ReplyFormats& family, const std::optional<ChatTemplate>& chat_template);

}  // namespace cachalot
