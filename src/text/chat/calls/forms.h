// The forms of calls, each a file of this folder.
#pragma once

#include "text/chat/calls/call_reader.h"

namespace cachalot {

extern const CallSyntax kTaggedJsonCalls, kTaggedXmlCalls, kDeepseekV3Calls, kDeepseekV31Calls, kDsmlCalls,
    kLlamaJsonCalls;

// Two of them share these.
inline constexpr std::string_view kToolCall = "<tool_call>", kToolCallEnd = "</tool_call>";

}  // namespace cachalot
