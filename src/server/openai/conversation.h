// A conversation in the API's shape as the prompt that its template writes.
#pragma once

#include "server/openai/asked.h"

namespace cachalot::openai {

// Throws an ApiError when the conversation is malformed, when it holds what is no text, or when the template refuses
// it.
//
// What becomes of messages: `developer` is another name of `system`; several such messages, and several of one role
// in a row, are handed on as they are, so the template decides. Parts of text are joined by line breaks, as templates
// take one text. Arguments of tool calls are given to the template as objects, or as the text that they came as where
// it fails with those; a template that leaves out the calls refuses them. What else a message has is given to the
// template, but for what this API cannot do.
Prompt conversation_prompt(const Asked& asked);

}  // namespace cachalot::openai
