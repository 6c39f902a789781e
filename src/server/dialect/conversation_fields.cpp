// What every endpoint that takes a conversation knows: reasoning, calls, the template's variables.
#include <fmt/format.h>

#include "base/quote.h"
#include "server/dialect/fields.h"

namespace cachalot::dialect {
void read_reasoning_effort(const Value& value, Asked& asked) {
  const auto effort = effort_named(value.text());
  if (!effort) value.expect("one of none, minimal, low, medium, high, xhigh and max");
  asked.chat.thinking.effort = effort;
}

void read_enable_thinking(const Value& value, Asked& asked) { asked.chat.thinking.on = value.flag(); }

void read_thinking_limit(const Value& value, Asked& asked) {
  const auto tokens = static_cast<int>(value.integer(-1, INT32_MAX));
  if (tokens >= 0) asked.chat.thinking.limit(tokens);
}

void read_thinking_type(const Value& value, Asked& asked) {
  value.object();
  const Value type = value.member("type");
  if (type.text() == "enabled" || type.text() == "disabled")
    asked.chat.thinking.on = type.text() == "enabled";
  else if (type.text() != "adaptive")  // that is what a model does by itself
    type.expect("one of enabled, disabled and adaptive");
}

namespace {

using enum Use;

void read_parallel_calls(const Value& value, Asked& asked) { asked.one_call = !value.flag(); }

void read_template_variables(const Value& value, Asked& asked) {
  const auto& chat_template = asked.model.text.chat_template;
  for (const auto& [name, json] : value.object().items()) {
    for (const char* own : {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"})
      if (name == own) value.refuse(fmt::format("{} is a field of its own", name));
    if (chat_template && chat_template->provides(name))
      value.refuse(fmt::format("{} is a name of the template's own", quote(name)));
    asked.chat.variables[name] = json;
  }
  asked.chat.thinking.read(value.json);
}

void read_documents(const Value& value, Asked& asked) {
  for (const Value& document : value.list(1024)) document.object();
  asked.chat.variables["documents"] = value.json;
}

void read_thinking(const Value& value, Asked& asked) {
  read_thinking_type(value, asked);
  for (const auto& [name, json] : value.json.items()) {
    if (json.is_null() || name == "type") continue;
    const Value wish{"thinking." + name, json};
    if (name != "budget_tokens" && name != "budget") wish.refuse("there is no such wish");
    read_thinking_limit(wish, asked);
  }
}

constexpr Field<Asked> kConversation[] = {
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

    {"chat_template", refused, "a request brings no template; the checkpoint's is used", R"([])", R"(["{{ x }}"])"},
    {"mm_processor_kwargs", refused, "the models here read text", R"([{}])", R"([{"a": 1}])"},
    {"media_io_kwargs", refused, "the models here read text", R"([{}])", R"([{"a": {}}])"},
};

}  // namespace

std::span<const Field<Asked>> conversation_fields() { return kConversation; }

}  // namespace cachalot::dialect
