// What templates write of calls is what the parser reads: rendered by our engine, which transformers checks
// (tests/goldens/templates), and read back.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "text/chat/chat_template.h"
#include "text/chat/reply_cases.h"

namespace cachalot::testing {
namespace {

using Json = nlohmann::ordered_json;

std::string golden_template(const std::string& name) {
  std::ifstream file(CACHALOT_SOURCE_DIR "/tests/goldens/templates/" + name + ".jinja");
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

// As Qwen3-Coder and Qwen3.5 write calls.
constexpr const char* kXmlCalls = R"({%- for message in messages -%}
{{ '<|im_start|>' ~ message.role ~ '\n' ~ (message.content or '') }}
{%- for call in message.tool_calls or [] -%}
{{ '\n' if message.content or not loop.first }}<tool_call>{{ '\n<function=' ~ call.function.name ~ '>\n' }}
{%- for name, value in call.function.arguments | items -%}
{{ '<parameter=' ~ name ~ '>\n' ~ (value if value is string else value | tojson) ~ '\n</parameter>\n' }}
{%- endfor -%}
{{ '</function>\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\n' }}
{%- endfor -%})";

// As DeepSeek-V3.2 does.
constexpr const char* kDsmlCalls = R"({%- for message in messages -%}
{{ '<｜' ~ message.role ~ '｜>' ~ (message.content or '') }}
{%- for call in message.tool_calls or [] -%}
{{ '\n\n<｜DSML｜function_calls>\n' if loop.first }}{{ '<｜DSML｜invoke name="' ~ call.function.name ~ '">\n' }}
{%- for name, value in call.function.arguments | items -%}
{{ '<｜DSML｜parameter name="' ~ name ~ '" string="' ~ ('true' if value is string else 'false') ~ '">' ~ (value if value is string else value | tojson) ~ '</｜DSML｜parameter>\n' }}
{%- endfor -%}
{{ '</｜DSML｜invoke>\n' }}{{ '</｜DSML｜function_calls>' if loop.last }}
{%- endfor -%}
{{ '<｜end▁of▁sentence｜>' }}
{%- endfor -%})";

struct Written {
  CallForm form;
  std::string source;
  bool text_arguments = false;  // the template takes them as text alone
  bool one = false;             // call, and no content beside it
};

std::vector<Written> all_written() {
  std::vector<Written> all = {{CallForm::tagged_xml, kXmlCalls},
                              {CallForm::dsml, kDsmlCalls},
                              {CallForm::deepseek_v3, golden_template("deepseek_v3"), /*text_arguments=*/true},
                              {CallForm::deepseek_v3, golden_template("deepseek_r1_february"), true},
                              {CallForm::deepseek_v31, golden_template("deepseek_v3_1")},
                              {CallForm::llama_json, golden_template("llama3"), false, /*one=*/true}};
  for (const char* name :
       {"chatml_qwen2_5", "chatml_qwq", "chatml_qwen3", "chatml_qwen3_instruct_2507", "chatml_qwen3_thinking_2507"})
    all.push_back({CallForm::tagged_json, golden_template(name)});
  return all;
}

// Where the template writes the answer, in place of another whose text has no letter in common with a call's first
// and last.
std::string written(const ChatTemplate& chat, const Json& answer) {
  const auto render = [&](const Json& message) {
    return chat.render(
        {{"messages", {{{"role", "user"}, {"content", "?"}}, message}}, {"add_generation_prompt", false}});
  };
  const std::string other = render({{"role", "assistant"}, {"content", "~"}}), text = render(answer);
  const auto begin = std::mismatch(text.begin(), text.end(), other.begin(), other.end()).first;
  const auto behind =
      std::mismatch(text.rbegin(), text.rend() - (begin - text.begin()), other.rbegin(), other.rend()).first;
  return {begin, behind.base()};
}

TEST(Calls, ReadBackWhatTemplatesWrite) {
  const std::vector<std::pair<std::string, std::vector<std::pair<std::string, Json>>>> answers = {
      {"", {{"weather", {{"city", "Oslo"}, {"days", 3}}}}},
      {"", {{"now", Json::object()}}},
      {"",
       {{"write",
         {{"city", "a </tool_call> \"b\" \\n ``` <｜tool▁call▁end｜>\n</parameter> {\n\ttab"}, {"days", -1}}}}},
      {"",
       {{"write", {{"list", {1, "a", nullptr, {{"b", true}}, Json::array()}}, {"object", {{"c", {{"d", 1.5}}}}}}}}},
      {"",
       {{"write", {{"sure", false}, {"maybe", nullptr}, {"share", 0.25}, {"city", ""}, {"list", Json::array()}}}}},
      {"Schön 🌧.", {{"weather", {{"city", "東京 🌧 é"}}}}},
      {"Two things.",
       {{"weather", {{"city", "Oslo"}}}, {"now", Json::object()}, {"weather", {{"city", "Bergen\n"}}}}},
  };
  for (const Written& by : all_written()) {
    const ChatTemplate chat(by.source, "<s>", "<｜end▁of▁sentence｜>");
    for (const auto& [content, calls] : answers) {
      if (by.one && (!content.empty() || calls.size() > 1)) continue;
      SCOPED_TRACE(by.source.substr(0, 60) + "\n" + calls[0].second.dump());
      Json answer = {{"role", "assistant"}, {"content", content}, {"tool_calls", Json::array()}};
      for (const auto& [name, arguments] : calls)
        answer["tool_calls"].push_back(
            {{"id", "call00001"},
             {"type", "function"},
             {"function", {{"name", name}, {"arguments", by.text_arguments ? Json(arguments.dump()) : arguments}}}});
      const std::string text = written(chat, answer);
      const ReplyParts parts = parsed(syntax_of(by.form), {text});
      EXPECT_EQ(text_of(parts, ReplyPart::Kind::content), content);
      ASSERT_EQ(parts.size(), calls.size() + !content.empty()) << text;
      for (size_t i = 0; i < calls.size(); ++i) {
        const ReplyPart& call = parts[i + !content.empty()];
        EXPECT_EQ(call.name, calls[i].first);
        EXPECT_EQ(Json::parse(call.text), calls[i].second) << text;
      }
      expect_however_cut(syntax_of(by.form), text, parts);
    }
  }
}

}  // namespace
}  // namespace cachalot::testing
