// The fields that one endpoint alone knows.
#include <fmt/format.h>

#include "base/quote.h"
#include "server/openai/conversation.h"
#include "server/openai/fields.h"

namespace cachalot::openai {
namespace {

using enum Use;

// -- Chat

void read_messages(const Value& value, Asked& asked) { asked.messages = &value.json; }

void read_max_completion_tokens(const Value& value, Asked& asked) {
  const auto tokens = static_cast<int>(value.integer(1, INT32_MAX));
  asked.max_tokens = std::min(tokens, asked.max_tokens.value_or(tokens));
}

void read_top_logprobs(const Value& value, Asked& asked) {
  asked.logprobs = static_cast<int>(value.integer(0, kMostLikeliest));
}

void read_tools(const Value& value, Asked& asked) {
  check_tools(value);
  if (!value.json.empty()) asked.tools = &value.json;
}

void read_tool_choice(const Value& value, Asked& asked) {
  if (value.json == "none")
    asked.tells_of_tools = false;
  else if (value.json != "auto")
    value.refuse("only \"none\" and \"auto\" are taken; a model cannot be made to call a tool yet");
}

void read_parallel_calls(const Value& value, Asked& asked) { asked.one_call = !value.flag(); }

void read_template_variables(const Value& value, Asked& asked) {
  const auto& chat_template = asked.model.text.chat_template;
  for (const auto& [name, json] : value.object().items()) {
    for (const char* own : {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"})
      if (name == own) value.refuse(fmt::format("{} is a field of its own", name));
    if (chat_template && chat_template->provides(name))
      value.refuse(fmt::format("{} is a name of the template's own", quote(name)));
    asked.template_variables[name] = json;
  }
  asked.thinking.read(value.json);
}

void read_documents(const Value& value, Asked& asked) {
  for (const Value& document : value.list(1024)) document.object();
  asked.template_variables["documents"] = value.json;
}

void read_reasoning_effort(const Value& value, Asked& asked) {
  const auto effort = effort_named(value.text());
  if (!effort) value.expect("one of none, minimal, low, medium, high, xhigh and max");
  asked.thinking.effort = effort;
}

void read_enable_thinking(const Value& value, Asked& asked) { asked.thinking.on = value.flag(); }

void read_thinking_limit(const Value& value, Asked& asked) {
  const auto tokens = static_cast<int>(value.integer(-1, INT32_MAX));
  if (tokens >= 0) asked.thinking.limit(tokens);
}

void read_reasoning(const Value& value, Asked& asked) {
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

void read_thinking(const Value& value, Asked& asked) {
  value.object();
  const Value type = value.member("type");
  if (type.text() == "enabled" || type.text() == "disabled")
    asked.thinking.on = type.text() == "enabled";
  else if (type.text() != "adaptive")  // that is what a model does by itself
    type.expect("one of enabled, disabled and adaptive");
  for (const auto& [name, json] : value.json.items()) {
    if (json.is_null() || name == "type") continue;
    const Value wish{"thinking." + name, json};
    if (name != "budget_tokens" && name != "budget") wish.refuse("there is no such wish");
    read_thinking_limit(wish, asked);
  }
}

void read_add_generation_prompt(const Value& value, Asked& asked) { asked.add_generation_prompt = value.flag(); }

void read_prediction(const Value& value, Asked&) { value.object(); }

constexpr Field kChat[] = {
    {"messages", honoured, "the conversation; roles and contents: see below", R"([])",
     R"(["Hi", [], [5], [{"content": "no role"}], [{"role": "user"}], [{"role": "king", "content": "x"}]])",
     read_messages},
    {"max_completion_tokens", honoured, "as `max_tokens`, reasoning included; where both are given, each is kept",
     R"([5])", R"([0, -1, "5"])", read_max_completion_tokens},
    {"logprobs", honoured, "true: the log-probability of each token, by the model's logits as they are",
     R"([true, false])", R"([1, "true"])", read_flag<&Asked::wants_logprobs>},
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
    {"parallel_tool_calls", honoured, "false: an answer has one call at most", R"([true, false])", R"(["no"])",
     read_parallel_calls},
    {"chat_template_kwargs", honoured,
     "variables for the template, which decides what they do; `enable_thinking`, `thinking` and `reasoning_effort` "
     "are "
     "wishes, too",
     R"([{"enable_thinking": false}, {"thinking": true, "more": [1]}])",
     R"([5, {"messages": []}, {"add_generation_prompt": true}, {"eos_token": "x"}, {"raise_exception": 1},
         {"namespace": {}}])",
     read_template_variables},
    {"documents", honoured, "a list of objects for the template, which decides what they do",
     R"([[{"title": "a", "text": "b"}]])", R"([{}, ["a"]])", read_documents},
    {"enable_thinking", honoured, "whether the model reasons before it answers; see below", R"([true, false])",
     R"(["no", 0])", read_enable_thinking},
    {"reasoning_effort", honoured, "`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`; see below",
     R"(["none", "minimal", "low", "medium", "high", "xhigh", "max"])", R"(["huge", 5])", read_reasoning_effort},
    {"reasoning", honoured,
     "an object: `effort` as `reasoning_effort`, `enabled` as `enable_thinking`, `max_tokens` as "
     "`thinking_token_budget`, `exclude` as `include_reasoning` false",
     R"([{}, {"effort": "low", "exclude": true}, {"enabled": false}, {"max_tokens": 100}])",
     R"([5, "low", {"effort": "huge"}, {"max_tokens": -2}, {"enabled": 1}, {"exclude": "x"}, {"more": 1}])",
     read_reasoning},
    {"thinking", honoured,
     "an object: `type` (`enabled`, `disabled`, or `adaptive`: as the model does by itself) and `budget_tokens` or "
     "`budget`, as `thinking_token_budget`",
     R"([{"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 100}])",
     R"([5, true, {}, {"type": "maybe"}, {"type": "enabled", "budget": "x"}, {"type": "enabled", "more": 1}])",
     read_thinking},
    {"thinking_token_budget", honoured,
     "the most tokens of reasoning, of several limits the least; -1: no limit; see below", R"([-1, 0, 100])",
     R"([-2, 1.5, "5"])", read_thinking_limit},
    {"thinking_budget", honoured, "another name of `thinking_token_budget`", R"([-1, 0, 100])", R"([-2, "5"])",
     read_thinking_limit},
    {"thinking_budget_tokens", honoured, "another name of `thinking_token_budget`", R"([-1, 0, 100])", R"([-2, "5"])",
     read_thinking_limit},
    {"max_thinking_tokens", honoured, "another name of `thinking_token_budget`", R"([-1, 0, 100])", R"([-2, "5"])",
     read_thinking_limit},
    {"include_reasoning", honoured, "false: reasoning is left out of the answer", R"([true, false])", R"([1])",
     read_flag<&Asked::tells_reasoning>},
    {"add_generation_prompt", honoured, "false: the template does not open an answer", R"([true, false])", R"([1])",
     read_add_generation_prompt},
    {"continue_final_message", honoured,
     "true: the answer goes on with the last message, the assistant's; not with `add_generation_prompt`",
     R"([false])", R"([1, true])", read_flag<&Asked::continue_final_message>},

    {"prediction", without_effect, "it would make an answer faster, not another one",
     R"([{"type": "content", "content": "x"}])", R"(["x"])", read_prediction},

    {"functions", refused, "their place is `tools`; only an empty list is taken", R"([[]])", R"([[{"name": "f"}]])"},
    {"function_call", refused, "its place is `tool_choice`; only \"none\" is taken", R"(["none"])",
     R"(["auto", {"name": "f"}])"},
    {"modalities", refused, "answers are text; only [\"text\"] is taken", R"([["text"]])", R"([["text", "audio"]])"},
    {"audio", refused, "answers are text", R"([])", R"([{"voice": "alloy", "format": "wav"}])"},
    {"web_search_options", refused, "nothing is searched for", R"([])", R"([{}])"},
    {"verbosity", refused, "no template knows it; only \"medium\" is taken", R"(["medium"])", R"(["low", "high"])"},
    {"reasoning_format", refused, "reasoning comes apart; only \"auto\" and \"deepseek\" are taken",
     R"(["auto", "deepseek"])", R"(["none"])"},
    {"chat_template", refused, "a request brings no template; the checkpoint's is used", R"([])", R"(["{{ x }}"])"},
    {"echo", refused, "a conversation is not repeated; only false is taken (see /v1/completions)", R"([false])",
     R"([true])"},
    {"add_special_tokens", refused, "the template writes them; only false is taken", R"([false])", R"([true])"},
    {"mm_processor_kwargs", refused, "the models here read text", R"([{}])", R"([{"a": 1}])"},
    {"media_io_kwargs", refused, "the models here read text", R"([{}])", R"([{"a": {}}])"},
};

// -- Completions

void read_prompt(const Value& value, Asked& asked) { asked.prompt = &value.json; }
void read_suffix(const Value& value, Asked& asked) { asked.suffix = value.text(); }

void read_logprobs(const Value& value, Asked& asked) {
  asked.logprobs = static_cast<int>(value.integer(0, kMostLikeliest));
}

void read_best_of(const Value& value, Asked& asked) {
  asked.best_of = static_cast<int>(value.integer(1, kMostAnswers));
}

constexpr Field kCompletions[] = {
    {"prompt", honoured,
     "a text, in which special tokens are recognised, or a list of token ids, or a list of up to 2,048 of either",
     R"(["Hi", [1, 2], ["a", "b"], [[1], [2, 3]]])",
     R"([5, {}, [], [1.5], ["a", 1], [["a"]], [[]], [-1], [99999999]])", read_prompt},
    {"suffix", honoured,
     "what stands behind the answer, for models that fill in; it and the prompt, a text, are plain: no special token "
     "is "
     "recognised",
     R"([])", R"([5, []])", read_suffix},
    {"echo", honoured, "true: the prompt comes before the answer, with `logprobs` also its log-probabilities",
     R"([true, false])", R"([1])", read_flag<&Asked::echo>},
    {"logprobs", honoured, "0 to 20 of the likeliest tokens beside the chosen one, by the model's logits as they are",
     R"([0, 5, 20])", R"([-1, 21, true, "5"])", read_logprobs},
    {"best_of", honoured, "only what `n` is", R"([1])", R"([0, 2, "1"])", read_best_of},
    {"add_special_tokens", honoured, "false: no BOS before a text, where the checkpoint asks for one",
     R"([true, false])", R"([1])", read_flag<&Asked::add_special_tokens>},

    {"prompt_embeds", refused, "a prompt is text or tokens", R"([])", R"(["AAAA"])"},
};

}  // namespace

std::span<const Field> chat_fields() { return kChat; }
std::span<const Field> completion_fields() { return kCompletions; }

}  // namespace cachalot::openai
