// <tool_call>{"name": …, "arguments": {…}}</tool_call>: Qwen2.5, QwQ, Qwen3. Qwen2.5-Coder often writes its calls in
// other clothes: between the tags that enclose the list of tools in its prompt, in a fence, or bare.
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_calls.h"

namespace cachalot {

static constexpr JsonTags kTaggedJsonTags[] = {
    {kToolCall, kToolCallEnd},
    {"<tools>", "</tools>", /*doubtful=*/true},
    {"```json", "```", /*doubtful=*/true},
    {"{", "", /*doubtful=*/true},
};

const CallSyntax kTaggedJsonCalls = {.begins = {kToolCall, "<tools>"},
                                     .closes = {kToolCallEnd, "</tools>"},
                                     .inner = {},
                                     .bare = {"```json", "{"},
                                     .reader = [](const Tools& tools) -> std::unique_ptr<CallReader> {
                                       return std::make_unique<JsonReader>(kTaggedJsonTags, tools);
                                     }};

}  // namespace cachalot
