// A conversation in the shape of OpenAI's chat, as every template's rules take it (session/chat_request.h).
#pragma once

#include "server/openai/fields.h"

namespace cachalot::openai {

// Checks and maps. Throws an ApiError when the conversation is malformed, or holds what is no text.
//
// `developer` is another name of `system`, `function` of `tool`. Parts of text are joined by line breaks, as
// templates take one text. What else a message has is given to the template, but for what this API cannot do.
void read_conversation(AskedChat& asked);

}  // namespace cachalot::openai
