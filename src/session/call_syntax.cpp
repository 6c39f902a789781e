#include "session/call_syntax.h"

#include "base/error.h"
#include "formats/json_text.h"
#include "jinja/template.h"
#include "text/chat/chat_template.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;

// The parts of a form, in the language of templates. A call has name, object (its arguments, or what else the model
// wrote) and text (the same as it was written).
struct CallWording {
  const char* before;   // between an assistant's text and its calls
  const char* calls;    // with `calls`
  const char* results;  // with `results`
  const char* remark;   // on how a call is written, behind an example
};

constexpr const char* kTaggedResults = R"({%- for result in results -%}
{{ '\n' if not loop.first }}{{ '<tool_response>\n' ~ result ~ '\n</tool_response>' }}
{%- endfor -%})";

constexpr CallWording kTaggedJson = {.before = "\n",
                                     .calls = R"({%- for call in calls -%}
{{ '\n' if not loop.first }}{{ '<tool_call>\n{"name": ' ~ call.name|tojson ~ ', "arguments": ' ~ call.text ~ '}\n</tool_call>' }}
{%- endfor -%})",
                                     .results = kTaggedResults,
                                     .remark = "Several calls may follow each other, each between tags of its own."};

constexpr CallWording kTaggedXml = {
    .before = "\n",
    .calls = R"({%- for call in calls -%}
{{ '\n' if not loop.first }}{{ '<tool_call>\n<function=' ~ call.name ~ '>\n' }}
{%- if call.object is mapping -%}
  {%- for key, value in call.object|items -%}
    {{ '<parameter=' ~ key ~ '>\n' ~ (value if value is string else value|tojson) ~ '\n</parameter>\n' }}
  {%- endfor -%}
{%- else -%}{{ call.text ~ '\n' }}{%- endif -%}
{{ '</function>\n</tool_call>' }}
{%- endfor -%})",
    .results = kTaggedResults,
    .remark =
        "Each argument has a block of its own: a text stands there as it is, any other value as JSON. Several "
        "calls may follow each other, each between tags of its own."};

constexpr CallWording kDeepSeekV3 = {
    .before = "",
    .calls = R"({{- '<｜tool▁calls▁begin｜>' -}}
{%- for call in calls -%}
{{ '\n' if not loop.first }}{{ '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' ~ call.name ~ '\n```json\n' ~ call.text ~ '\n```<｜tool▁call▁end｜>' }}
{%- endfor -%}
{{ '<｜tool▁calls▁end｜>' }})",
    .results = R"({{- '<｜tool▁outputs▁begin｜>' -}}
{%- for result in results -%}
{{ '\n' if not loop.first }}{{ '<｜tool▁output▁begin｜>' ~ result ~ '<｜tool▁output▁end｜>' }}
{%- endfor -%}
{{ '<｜tool▁outputs▁end｜>' }})",
    .remark = "Several calls may stand on lines of their own within the outer marks."};

constexpr CallWording kDeepSeekV31 = {.before = "",
                                      .calls = R"({{- '<｜tool▁calls▁begin｜>' -}}
{%- for call in calls -%}
{{ '<｜tool▁call▁begin｜>' ~ call.name ~ '<｜tool▁sep｜>' ~ call.text ~ '<｜tool▁call▁end｜>' }}
{%- endfor -%}
{{ '<｜tool▁calls▁end｜>' }})",
                                      .results = R"({%- for result in results -%}
{{ '<｜tool▁output▁begin｜>' ~ result ~ '<｜tool▁output▁end｜>' }}
{%- endfor -%})",
                                      .remark = "Several calls may follow each other within the outer marks."};

constexpr CallWording kDsml = {
    .before = "\n\n",
    .calls = R"({{- '<｜DSML｜function_calls>\n' -}}
{%- for call in calls -%}
{{ '<｜DSML｜invoke name="' ~ call.name ~ '">\n' }}
{%- if call.object is mapping -%}
  {%- for key, value in call.object|items -%}
    {{ '<｜DSML｜parameter name="' ~ key ~ '" string="' ~ ('true' if value is string else 'false') ~ '">' }}
    {{- (value if value is string else value|tojson) ~ '</｜DSML｜parameter>\n' }}
  {%- endfor -%}
{%- else -%}{{ call.text ~ '\n' }}{%- endif -%}
{{ '</｜DSML｜invoke>\n' }}
{%- endfor -%}
{{ '</｜DSML｜function_calls>' }})",
    .results = R"({{- '<function_results>\n' -}}
{%- for result in results -%}{{ '<result>' ~ result ~ '</result>\n' }}{%- endfor -%}
{{ '</function_results>' }})",
    .remark =
        "A text is written as it is with string=\"true\", any other value as JSON with string=\"false\". Several "
        "calls may follow each other within the outer marks."};

constexpr CallWording kLlamaJson = {.before = "\n",
                                    .calls = R"({%- for call in calls -%}
{{ '\n' if not loop.first }}{{ '{"name": ' ~ call.name|tojson ~ ', "parameters": ' ~ call.text ~ '}' }}
{%- endfor -%})",
                                    .results = kTaggedResults,
                                    .remark = "An answer that calls a tool is the call alone."};

const CallWording& syntax_of(CallForm form) {
  switch (form) {
    case CallForm::none:
    case CallForm::tagged_json: return kTaggedJson;
    case CallForm::tagged_xml: return kTaggedXml;
    case CallForm::deepseek_v3: return kDeepSeekV3;
    case CallForm::deepseek_v31: return kDeepSeekV31;
    case CallForm::dsml: return kDsml;
    case CallForm::llama_json: return kLlamaJson;
  }
  return kTaggedJson;
}

constexpr const char* kToolsText =
    R"({{- '# Tools\n\nYou can call tools. Each of these lines describes one, its parameters as a JSON schema:\n\n' -}}
{%- for tool in tools -%}
{{ (tool.function if tool.function is mapping else tool)|tojson ~ '\n' }}
{%- endfor -%}
{{ '\nTo call a tool, write its name and its arguments like this:\n\n' ~ example ~ '\n\n' ~ remark ~ ' ' }}
{{- 'What the tools give back comes in the next turn. Call none but these, and answer without a call where none is needed.' }})";

// Parsing takes as long as a small conversation, and these are written once for a model that needs them.
AttributedText rendered(const char* source, const Json& variables, const Attribution& said) {
  return jinja::Template(source).render(variables, said);
}

Json for_template(std::span<const ChatCall> calls) {
  Json list = Json::array();
  for (const ChatCall& call : calls)
    list.push_back({{"name", call.name}, {"object", arguments_object(call)}, {"text", arguments_text(call)}});
  return list;
}

}  // namespace

AttributedText tools_text(CallForm form, const Json& tools) {
  const CallWording& syntax = syntax_of(form);
  const ChatCall example{.id = {}, .name = "NAME", .arguments = {{"PARAMETER", "VALUE"}}};
  const Json variables = {{"tools", tools},
                          {"example", rendered(syntax.calls, {{"calls", for_template({&example, 1})}}, {}).text},
                          {"remark", syntax.remark}};
  Attribution said;
  attribute_all(variables["tools"], said);
  return rendered(kToolsText, variables, said);
}

AttributedText with_calls(CallForm form, AttributedText text, std::span<const ChatCall> calls) {
  const CallWording& syntax = syntax_of(form);
  const Json variables = {{"calls", for_template(calls)}};
  Attribution said;
  attribute_all(variables["calls"], said);
  if (!text.text.empty()) text.write(syntax.before);
  text.append(rendered(syntax.calls, variables, said));
  return text;
}

AttributedText results_text(CallForm form, std::span<const std::string> results) {
  const Json variables = {{"results", std::vector<std::string>(results.begin(), results.end())}};
  Attribution said;
  attribute_all(variables["results"], said);
  return rendered(syntax_of(form).results, variables, said);
}

Json arguments_object(const ChatCall& call) {
  if (!call.arguments.is_string()) return call.arguments;
  const auto& text = call.arguments.get_ref<const std::string&>();
  try {
    Json parsed = text.empty() ? Json::object() : parse_ordered_json(text, "arguments");
    if (parsed.is_object()) return parsed;
  } catch (const Error&) {}  // the model wrote something else
  return call.arguments;
}

std::string arguments_text(const ChatCall& call) {
  if (call.arguments.is_string()) {
    const auto& text = call.arguments.get_ref<const std::string&>();
    return text.empty() ? "{}" : text;
  }
  return jinja::Template("{{ arguments|tojson }}").render({{"arguments", call.arguments}});
}

}  // namespace cachalot
