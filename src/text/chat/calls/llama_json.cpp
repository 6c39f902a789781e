// Llama 3: an answer that begins with {"name": …, "parameters": {…}}, perhaps behind <|python_tag|>; several stand
// side by side, with semicolons or white space between.
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_calls.h"

namespace cachalot {

static constexpr JsonTags kLlamaJsonTags[] = {{"<|python_tag|>", ""}, {"{", "", /*doubtful=*/true}};

const CallSyntax kLlamaJsonCalls = {.begins = {"<|python_tag|>"},
                                    .closes = {";"},
                                    .inner = {},
                                    .bare = {"{"},
                                    .reader = [](const Tools& tools) -> std::unique_ptr<CallReader> {
                                      return std::make_unique<JsonReader>(kLlamaJsonTags, tools);
                                    }};

}  // namespace cachalot
