// A conversation in the API's shape as the prompt that its template writes.
#pragma once

#include "server/openai/asked.h"
#include "server/openai/value.h"

namespace cachalot::openai {

// Checks and maps; what becomes of a conversation is said in session/chat_writer.h. Throws an ApiError when the
// conversation is malformed, when it holds what is no text, when the template refuses it, or, where it is to be
// answered, when it cannot fit.
//
// `developer` is another name of `system`, `function` of `tool`. Parts of text are joined by line breaks, as
// templates take one text. What else a message has is given to the template, but for what this API cannot do.
Prompt conversation_prompt(const Asked& asked, bool to_answer = true);

// Checks the definitions of tools: of the shape that templates take, with names that a model can write in every form
// of calls, each once.
void check_tools(const Value& tools);

}  // namespace cachalot::openai
