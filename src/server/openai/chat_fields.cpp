// The fields of /v1/chat/completions.
#include "server/dialect/tools.h"
#include "server/openai/fields.h"

namespace cachalot::openai {
namespace {

using enum Use;

void read_messages(const Value& value, AskedChat& asked) { asked.messages = &value.json; }

void read_max_completion_tokens(const Value& value, AskedChat& asked) {
  asked.limit(static_cast<int>(value.integer(1, INT32_MAX)));
}

void read_top_logprobs(const Value& value, AskedChat& asked) {
  asked.logprobs = static_cast<int>(value.integer(0, kMostLikeliest));
}

void read_tools(const Value& value, AskedChat& asked) {
  ToolNames names;
  for (const Value& tool : value.list(kMostTools)) {
    const Value type = tool.member("type");
    if (type.text() != "function") type.expect("\"function\"");
    const Value function = tool.member("function");
    check_function(function);
    names.add(function.member("name"));
  }
  asked.tools = &value.json;
}

void read_tool_choice(const Value& value, AskedChat& asked) {
  if (value.json == "none")
    asked.tells_of_tools = false;
  else if (value.json != "auto")
    value.refuse("only \"none\" and \"auto\" are taken; a model cannot be made to call a tool yet");
}

void read_reasoning(const Value& value, AskedChat& asked) {
  for (const auto& [name, json] : value.object().items()) {
    if (json.is_null()) continue;
    const Value wish{"reasoning." + name, json};
    if (name == "effort")
      read_reasoning_effort(wish, asked);
    else if (name == "max_tokens")
      read_thinking_limit(wish, asked);
    else if (name == "enabled")
      read_enable_thinking(wish, asked);
    else if (name == "exclude")
      asked.tells_reasoning = !wish.flag();
    else
      wish.refuse("there is no such wish");
  }
}

void read_add_generation_prompt(const Value& value, AskedChat& asked) { asked.add_generation_prompt = value.flag(); }

constexpr Field<AskedChat> kChat[] = {
    {"messages", honoured, "the conversation; roles and contents: see below", R"([])",
     R"(["Hi", [], [5], [{"content": "no role"}], [{"role": "user"}], [{"role": "king", "content": "x"}]])",
     read_messages},
    {"max_completion_tokens", honoured, "as `max_tokens`, reasoning included; where both are given, each is kept",
     R"([5])", R"([0, -1, "5"])", read_max_completion_tokens},
    {"logprobs", honoured, "true: the log-probability of each token, by the model's logits as they are",
     R"([true, false])", R"([1, "true"])", read_flag<&AskedChat::wants_logprobs>},
    {"top_logprobs", honoured, "0 to 20 of the likeliest tokens; only with `logprobs`", R"([0])",
     R"([-1, 21, 5, true])", read_top_logprobs},
    {"tools", honoured, "a list of up to 128 functions that the model may call; see below",
     R"([[], [{"type": "function", "function": {"name": "get.weather-2", "parameters": {"type": "object"}}}]])",
     R"([{}, [5], [{"type": "function"}], [{"type": "custom", "custom": {"name": "x"}}],
         [{"type": "function", "function": {"name": ""}}], [{"type": "function", "function": {"name": "a b"}}],
         [{"type": "function", "function": {"name": "a\"b"}}], [{"type": "function", "function": {"name": "a\nb"}}],
         [{"type": "function", "function": {"name": "a>b"}}],
         [{"type": "function", "function": {"name":
           "a1234567890123456789012345678901234567890123456789012345678901234"}}],
         [{"type": "function", "function": {"name": "f", "parameters": []}}],
         [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}],
         [{"type": "function", "function": {"name": "f", "description": 5}}],
         [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}]])",
     read_tools},
    {"tool_choice", honoured, "\"none\": the template is not told of the tools; \"auto\": it is; others are refused",
     R"(["none", "auto"])", R"(["required", {"type": "function", "function": {"name": "f"}}])", read_tool_choice},
    {"reasoning", honoured,
     "an object: `effort` as `reasoning_effort`, `enabled` as `enable_thinking`, `max_tokens` as "
     "`thinking_token_budget`, `exclude` as `include_reasoning` false",
     R"([{}, {"effort": "low", "exclude": true}, {"enabled": false}, {"max_tokens": 100}])",
     R"([5, "low", {"effort": "huge"}, {"max_tokens": -2}, {"enabled": 1}, {"exclude": "x"}, {"more": 1}])",
     read_reasoning},
    {"include_reasoning", honoured, "false: reasoning is left out of the answer", R"([true, false])", R"([1])",
     read_flag<&AskedChat::tells_reasoning>},
    {"add_generation_prompt", honoured, "false: the template does not open an answer", R"([true, false])", R"([1])",
     read_add_generation_prompt},
    {"continue_final_message", honoured,
     "true: the answer goes on with the last message, the assistant's; not with `add_generation_prompt`",
     R"([false])", R"([1, true])", read_flag<&AskedChat::continue_final_message>},

    {"prediction", without_effect, "it would make an answer faster, not another one",
     R"([{"type": "content", "content": "x"}])", R"(["x"])", check_object},

    {"prompt", refused, "a conversation is asked by `messages`; a text alone goes to /v1/completions", R"([])",
     R"(["Hi"])"},
    {"suffix", refused, "models fill in texts at /v1/completions", R"([])", R"(["x"])"},
    {"functions", refused, "their place is `tools`; only an empty list is taken", R"([[]])", R"([[{"name": "f"}]])"},
    {"function_call", refused, "its place is `tool_choice`; only \"none\" is taken", R"(["none"])",
     R"(["auto", {"name": "f"}])"},
    {"modalities", refused, "answers are text; only [\"text\"] is taken", R"([["text"]])", R"([["text", "audio"]])"},
    {"audio", refused, "answers are text", R"([])", R"([{"voice": "alloy", "format": "wav"}])"},
    {"web_search_options", refused, "nothing is searched for", R"([])", R"([{}])"},
    {"verbosity", refused, "no template knows it; only \"medium\" is taken", R"(["medium"])", R"(["low", "high"])"},
    {"reasoning_format", refused, "reasoning comes apart; only \"auto\" and \"deepseek\" are taken",
     R"(["auto", "deepseek"])", R"(["none"])"},
    {"echo", refused, "a conversation is not repeated; only false is taken (see /v1/completions)", R"([false])",
     R"([true])"},
    {"add_special_tokens", refused, "the template writes them; only false is taken", R"([false])", R"([true])"},
};

}  // namespace

std::span<const Field<AskedChat>> chat_fields() { return kChat; }

}  // namespace cachalot::openai
