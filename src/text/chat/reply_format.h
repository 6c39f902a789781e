// How a model writes its answers: what marks reasoning, and what a call of a tool looks like. Families state it as
// data (model/family.h); the parser of answers (reply_parser.h), the prompts that explain tools to a model whose
// template does not, and the limit of reasoning read it.
#pragma once

#include <string_view>
#include <vector>

namespace cachalot {

// A call in an answer's text; each form is a file of text/chat/calls/.
enum class CallForm {
  none,
  tagged_json,  // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Qwen2.5, QwQ, Qwen3
  tagged_xml,   // <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>: Qwen3-Coder, 3.5
  deepseek_v3,  // <｜tool▁calls▁begin｜>… function<｜tool▁sep｜>NAME, then a fenced JSON object: V3, R1 and distills
  deepseek_v31,  // the same marks, without "function" and fence: V3.1
  dsml,          // <｜DSML｜function_calls><｜DSML｜invoke name="…"><｜DSML｜parameter …>: V3.2
  llama_json,    // the whole answer is {"name": …, "parameters": {…}}, perhaps behind <|python_tag|>: Llama 3
};

struct ReplyFormat {
  std::string_view reasoning_open = "<think>", reasoning_close = "</think>";
  // What stands between reasoning and answer where a template writes both, the closing tag included: it is what a
  // spent limit of reasoning makes the model say.
  std::string_view reasoning_end = "\n</think>\n\n";
  CallForm calls = CallForm::none;
};

// What the answers of a family's models may look like. The first of each is that of models whose template does not
// tell.
struct ReplyFormats {
  std::vector<std::string_view> reasoning_ends = {"\n</think>\n\n", "</think>"};
  std::vector<CallForm> calls = {CallForm::tagged_json};
};

}  // namespace cachalot
