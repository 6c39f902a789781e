// Calls of tools as a model writes them, for prompts whose template has no place for them: what tools there are, what
// was called, and what came of it. The names, arguments and results in these texts were said; the rest is as if the
// template wrote it, so the marks of calls become the tokens that they are for the model.
//
// The form is the one in which the model's answers are read (CallForm). Of a model that has none it is tagged_json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "jinja/provenance.h"
#include "session/chat_request.h"
#include "text/chat/reply_format.h"

namespace cachalot {

// What stands in the system's text: one tool a line, and how one is called. `tools` is as in ChatRequest.
AttributedText tools_text(CallForm form, const nlohmann::ordered_json& tools);
// What an assistant's text ends with, whose words before that are `text`.
AttributedText with_calls(CallForm form, AttributedText text, std::span<const ChatCall> calls);
// A user's text: what the tools gave back.
AttributedText results_text(CallForm form, std::span<const std::string> results);

// Arguments as an object, where they are one, and as a text; a text stays as it was written.
nlohmann::ordered_json arguments_object(const ChatCall& call);
std::string arguments_text(const ChatCall& call);

}  // namespace cachalot
