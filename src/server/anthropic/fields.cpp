// The fields of /v1/messages and /v1/messages/count_tokens.
#include "server/anthropic/fields.h"

#include <fmt/format.h>

#include "base/quote.h"

namespace cachalot::anthropic {
namespace {

using enum Use;

void read_system(const Value& value, AskedMessage& asked) { asked.system = &value.json; }
void read_messages(const Value& value, AskedMessage& asked) { asked.messages = &value.json; }
void read_tools(const Value& value, AskedMessage& asked) { asked.tools = &value.json; }

void read_max_tokens(const Value& value, AskedMessage& asked) {
  asked.limit(static_cast<int>(value.integer(1, INT32_MAX)));
}

void read_stop_sequences(const Value& value, AskedMessage& asked) {
  if (!value.json.is_array()) value.expect("a list of strings");
  read_stops(value, asked);
}

void read_display(const Value& value, AskedMessage& asked) {
  const std::string& display = value.text();
  if (display != "summarized" && display != "omitted" && display != "updates")
    value.expect("one of summarized, omitted and updates");
  asked.tells_thinking = display != "omitted";
}

void read_own_thinking(const Value& value, AskedMessage& asked) {
  read_thinking_type(value, asked);
  for (const auto& [name, json] : value.json.items()) {
    if (json.is_null() || name == "type") continue;
    const Value wish{"thinking." + name, json};
    if (name == "budget_tokens")
      read_thinking_limit(wish, asked);
    else if (name == "display")
      read_display(wish, asked);
    else if (name == "block_binding")
      wish.object();  // what a server may do with thinking that it did not write: it is taken here
    else
      wish.refuse("there is no such wish");
  }
}

void read_output_config(const Value& value, AskedMessage& asked) {
  for (const auto& [name, json] : value.object().items()) {
    if (json.is_null()) continue;
    const Value wish{"output_config." + name, json};
    if (name == "effort")
      read_reasoning_effort(wish, asked);
    else if (name == "format")
      wish.refuse("answers of a given form are not there yet");
    else if (name == "task_budget")
      wish.refuse("the model is not told what is left of a budget");
    else
      wish.refuse("there is no such wish");
  }
}

void read_tool_choice(const Value& value, AskedMessage& asked) {
  value.object();
  const Value type = value.member("type");
  if (type.text() == "any" || type.text() == "tool")
    value.refuse("only \"auto\" and \"none\" are taken; a model cannot be made to call a tool yet");
  if (type.text() != "auto" && type.text() != "none") type.expect("\"auto\" or \"none\"");
  asked.tells_of_tools = type.text() == "auto";
  if (find(value.json, "disable_parallel_tool_use"))
    asked.one_call = value.member("disable_parallel_tool_use").flag();
}

void check_context_management(const Value& value, AskedMessage&) {
  value.object();
  if (!find(value.json, "edits")) return;
  for (const Value& edit : value.member("edits").list(64)) {
    const Value type = edit.member("type");
    if (!type.text().starts_with("clear_thinking_") && !type.text().starts_with("clear_tool_uses_"))
      type.refuse(fmt::format("is {}; edits that clear thinking or tool uses are taken", quote(type.text())));
  }
}

void check_metadata(const Value& value, AskedMessage&) {
  value.object();
  if (find(value.json, "user_id")) value.member("user_id").text();
}

void check_list(const Value& value, AskedMessage&) { value.list(1024); }

void check_texts(const Value& value, AskedMessage&) {
  for (const Value& text : value.list(1024)) text.text();
}

void check_text_or_list(const Value& value, AskedMessage&) {
  if (!value.json.is_string()) value.list(1024);
}

void check_service_tier(const Value& value, AskedMessage&) {
  if (value.text() != "auto" && value.text() != "standard_only") value.expect("\"auto\" or \"standard_only\"");
}

constexpr Field<AskedMessage> kMessage[] = {
    {"max_tokens", honoured, "the most tokens of an answer, thinking included; must be there (not for count_tokens)",
     R"([1, 100])", R"([0, -1, 1.5, "5"])", read_max_tokens},
    {"messages", honoured, "the conversation; roles and blocks: see serving.md", R"([])",
     R"(["Hi", [], [5], [{"content": "no role"}], [{"role": "user"}], [{"role": "king", "content": "x"}],
         [{"role": "user", "content": ""}], [{"role": "user", "content": [{"type": "image", "source": {}}]}]])",
     read_messages},
    {"system", honoured,
     "a text, or a list of blocks of text; a line that begins with `x-anthropic-billing-header:` is left out",
     R"(["Be brief.", [], [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]])",
     R"([5, {}, [5], [{"type": "image"}], [{"type": "text"}]])", read_system},
    {"stop_sequences", honoured, "a list of up to 16 texts that end the answer where they begin, also in thinking",
     R"([[], ["END"]])", R"(["END", [""], [5]])", read_stop_sequences},
    {"thinking", honoured,
     "an object: `type` (`enabled`, `disabled`, or `adaptive`: as the model does by itself, as without the field), "
     "`budget_tokens` as `thinking_token_budget`, `display` (`summarized` and `updates`: the model's own words; "
     "`omitted`: an empty text, which the signature brings back); `block_binding` is without effect",
     R"([{"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024},
         {"type": "adaptive", "display": "omitted", "block_binding": {}}])",
     R"([5, true, {}, {"type": "maybe"}, {"type": "between_tools"}, {"type": "enabled", "budget_tokens": "x"},
         {"type": "adaptive", "display": "all"}, {"type": "enabled", "more": 1}])",
     read_own_thinking},
    {"output_config", honoured,
     "an object: `effort` as `reasoning_effort`; `format` and `task_budget` are refused, since answers of a given "
     "form "
     "are not there yet, and the model is not told of budgets",
     R"([{}, {"effort": "high"}, {"effort": null, "format": null}])",
     R"([5, {"effort": "huge"}, {"format": {"type": "json_schema", "schema": {}}},
         {"task_budget": {"type": "tokens", "total": 5}}, {"more": 1}])",
     read_output_config},
    {"tools", honoured,
     "a list of up to 128 tools that the model may call, each with an `input_schema`; see serving.md",
     R"([[], [{"name": "get_weather", "input_schema": {"type": "object"}}],
         [{"type": "custom", "name": "f", "description": "d", "strict": true, "cache_control": {"type": "ephemeral"},
           "input_examples": [{"a": 1}], "input_schema": {"type": "object", "properties": {}}}]])",
     R"([{}, [5], [{"name": "f"}], [{"name": "a b", "input_schema": {}}], [{"name": "f", "input_schema": []}],
         [{"name": "f", "input_schema": {}}, {"name": "f", "input_schema": {}}],
         [{"type": "bash_20250124", "name": "bash"}], [{"type": "web_search_20250305", "name": "web_search"}]])",
     read_tools},
    {"tool_choice", honoured,
     "`{\"type\": \"none\"}`: the model is not told of the tools; `auto`: it is; `any` and `tool` are refused. "
     "`disable_parallel_tool_use` true: an answer has one call at most",
     R"([{"type": "auto"}, {"type": "none"}, {"type": "auto", "disable_parallel_tool_use": true}])",
     R"(["auto", {}, {"type": "any"}, {"type": "tool", "name": "f"}, {"type": "auto", "disable_parallel_tool_use": 1}])",
     read_tool_choice},

    {"context_management", without_effect,
     "edits that clear thinking (the template decides which is kept) or tool uses (nothing is cleared; a prompt that "
     "is too long is refused) are taken, others refused",
     R"([{}, {"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
         {"edits": [{"type": "clear_tool_uses_20250919"}]}])",
     R"([5, {"edits": 5}, {"edits": [{"type": "compact_20260112"}]}])", check_context_management},
    {"metadata", without_effect, "names who asked; nothing is kept of it", R"([{}, {"user_id": "someone"}])",
     R"([5, {"user_id": 5}])", check_metadata},
    {"cache_control", without_effect, "common beginnings are found by what they say, wherever they end",
     R"([{"type": "ephemeral"}])", R"(["ephemeral"])", check_object},
    {"service_tier", without_effect, "all requests are served alike", R"(["auto", "standard_only"])",
     R"(["priority", 5])", check_service_tier},
    {"inference_geo", without_effect, "there is one place, this one", R"(["eu"])", R"([5])", check_text},
    {"betas", without_effect, "names of features; each is here or is not, whatever is listed",
     R"([[], ["interleaved-thinking-2025-05-14"]])", R"(["x", [5]])", check_texts},
    {"fallbacks", without_effect, "no model declines here, so none is asked instead", R"(["default", []])", R"([5])",
     check_text_or_list},
    {"billing_policy", without_effect, "nobody is billed", R"([{"type": "billing_policy"}])", R"([5])", check_object},
    {"user_profile_id", without_effect, "names who asked; nothing is kept of it", R"(["x"])", R"([5])", check_text},
    {"workspace_id", without_effect, "names who asked; nothing is kept of it", R"(["x"])", R"([5])", check_text},
    {"safeguards", without_effect, "what Claude Code asks of a classifier of its calls; there is none here",
     R"([[], [{"type": "dangerous_tool_use", "classifier_context": {}}]])", R"([5])", check_list},

    {"container", refused, "nothing is run here", R"([])", R"(["container_1"])"},
    {"mcp_servers", refused, "nothing is run here; only an empty list is taken", R"([[]])", R"([[{"type": "url"}]])"},
    {"speed", refused, "all requests are served alike; only \"standard\" is taken", R"(["standard"])", R"(["fast"])"},
    {"compaction", refused, "conversations are not summarized", R"([])", R"([{"type": "summarize"}])"},
    {"thread", refused, "conversations are not kept (clients that ask by themselves go on without)", R"([])",
     R"([{"type": "create"}])"},
    {"diagnostics", refused, "why a prompt was not found in the cache stands in the log", R"([{}])",
     R"([{"previous_message_id": "msg_1"}])"},
    {"fallback_credit_token", refused, "there is no such credit", R"([])", R"(["x"])"},
    {"output_format", refused, "answers of a given form are not there yet", R"([])",
     R"([{"type": "json_schema", "schema": {}}])"},
};

}  // namespace

std::span<const Field<AskedMessage>> message_fields() { return kMessage; }

// Clients that ask for a thread by themselves know this code, and go on without.
static void refuse_thread(const Json& body) {
  if (find(body, "thread"))
    throw ApiError{400, "thread: conversations are not kept", "thread_unsupported_request", "thread"};
}

AskedMessage read_message(const Json& body, const ServedModel& model) {
  AskedMessage asked(model);
  refuse_thread(body);
  read_fields(body, asked, message_fields(), sampling_fields(), conversation_fields());
  if (asked.max_tokens && asked.text.min_tokens > *asked.max_tokens)
    throw bad_field("min_tokens", fmt::format("is {}, which is more than the {} tokens that the answer may have",
                                              asked.text.min_tokens, *asked.max_tokens));
  return asked;
}

}  // namespace cachalot::anthropic
