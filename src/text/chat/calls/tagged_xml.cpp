// <tool_call>⏎<function=NAME>⏎<parameter=KEY>⏎VALUE⏎</parameter>⏎</function>⏎</tool_call>: Qwen3-Coder, Qwen3.5.
#include "text/chat/calls/forms.h"
#include "text/chat/calls/parameters.h"
#include "text/chat/calls/typed_value.h"

namespace cachalot {
namespace {

const ParameterTags kXmlTags = {.groups = {kToolCall},
                                .group_ends = {kToolCallEnd},
                                .offered_alone = true,
                                .call = "<function=",
                                .call_named = ">",
                                .call_end = "</function>",
                                .parameter = "<parameter=",
                                .named = {">"},
                                .parameter_end = "</parameter>",
                                .value = [](const Tools& tools, std::string_view tool, std::string_view argument,
                                            std::string_view value, size_t) {
                                  if (value.starts_with('\n')) value.remove_prefix(1);
                                  if (value.ends_with('\n')) value.remove_suffix(1);
                                  return typed_value(tools, tool, argument, value);
                                }};

}  // namespace

const CallSyntax kTaggedXmlCalls = {.begins = {kToolCall, "<function="},
                                    .closes = {kToolCallEnd},
                                    .inner = {},
                                    .quoted = false,
                                    .reader = [](const Tools& tools) -> std::unique_ptr<CallReader> {
                                      return std::make_unique<ParametersReader>(kXmlTags, tools);
                                    }};

}  // namespace cachalot
