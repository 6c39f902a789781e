// DeepSeek-V3.2's calls; V4's differ in the outer tags alone, which are tool_calls there:
//   <｜DSML｜function_calls>⏎<｜DSML｜invoke name="NAME">⏎
//   <｜DSML｜parameter name="KEY"
//   string="true|false">VALUE</｜DSML｜parameter>⏎</｜DSML｜invoke>⏎</｜DSML｜function_calls>
#include "text/chat/calls/forms.h"
#include "text/chat/calls/json_scanner.h"
#include "text/chat/calls/parameters.h"
#include "text/chat/calls/typed_value.h"

namespace cachalot {
namespace {

// "string" says what a value is; where it is left out, the tool's schema does.
const ParameterTags kDsmlTags = {.groups = {"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>"},
                                 .group_ends = {"</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"},
                                 .call = "<｜DSML｜invoke name=\"",
                                 .call_named = "\">",
                                 .call_end = "</｜DSML｜invoke>",
                                 .parameter = "<｜DSML｜parameter name=\"",
                                 .named = {"\" string=\"true\">", "\" string=\"false\">", "\">"},
                                 .parameter_end = "</｜DSML｜parameter>",
                                 .value = [](const Tools& tools, std::string_view tool, std::string_view argument,
                                             std::string_view value, size_t named) {
                                   if (named == 2) return typed_value(tools, tool, argument, value);
                                   auto json = named == 1 ? json_text(value) : std::nullopt;
                                   return json ? std::move(*json) : json_string(value);
                                 }};

}  // namespace

const CallSyntax kDsmlCalls = {
    .begins = {"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>", "<｜DSML｜invoke name=\""},
    .closes = {"</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"},
    .inner = {"</｜DSML｜invoke>", "<｜DSML｜parameter name=\"", "</｜DSML｜parameter>"},
    .quoted = false,
    .reader = [](const Tools& tools) -> std::unique_ptr<CallReader> {
      return std::make_unique<ParametersReader>(kDsmlTags, tools);
    }};

}  // namespace cachalot
