// Which form of calls a checkpoint has.
#include "load/reply_format.h"

#include <gtest/gtest.h>

#include <fstream>

#include "formats/made_files.h"
#include "load/loaded_model.h"
#include "support/test_models.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

ReplyFormat format_of(const std::string& family, const std::string& chat_template) {
  for (const Family* one : all_families())
    if (one->name == family)
      return reply_format(one->replies, ChatTemplate({{"default", chat_template}},
                                                     {{"bos_token", "<s>"}, {"eos_token", "<｜end▁of▁sentence｜>"}}));
  ADD_FAILURE() << family;
  return {};
}

CallForm form(const std::string& family, const std::string& chat_template) {
  return format_of(family, chat_template).calls;
}

std::string golden(const std::string& name) {
  return read_text(fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/templates" / (name + ".jinja"));
}

TEST(ReplyFormat, EndsReasoningAsTheTemplateDoes) {
  for (const auto& [family, name, want] : std::vector<std::tuple<const char*, const char*, const char*>>{
           {"qwen3", "chatml_qwen3", "\n</think>\n\n"},
           {"qwen3", "chatml_qwen3_thinking_2507", "\n</think>\n\n"},
           {"deepseek_v3", "deepseek_v3_1", "</think>"},
           {"deepseek_v3", "deepseek_r1_february", "\n</think>\n\n"}})  // it drops reasoning: what the family does
    EXPECT_EQ(format_of(family, golden(name)).reasoning_end, want) << name;
  EXPECT_EQ(reply_format({}, std::nullopt).reasoning_end, "\n</think>\n\n");
}

TEST(ReplyFormat, IsWhatTheTemplateWrites) {
  for (const auto& [family, name, want] : std::vector<std::tuple<const char*, const char*, CallForm>>{
           {"qwen2", "chatml_qwen2_5", CallForm::tagged_json},
           {"qwen2", "chatml_qwq", CallForm::tagged_json},
           {"qwen3", "chatml_qwen3", CallForm::tagged_json},
           {"qwen3_moe", "chatml_qwen3_instruct_2507", CallForm::tagged_json},
           {"deepseek_v3", "deepseek_v3", CallForm::deepseek_v3},
           {"deepseek_v3", "deepseek_r1_february", CallForm::deepseek_v3},
           {"deepseek_v3", "deepseek_v3_1", CallForm::deepseek_v31},
           {"llama", "llama3", CallForm::llama_json},
           {"llama", "chatml_qwen2_5", CallForm::tagged_json},
           {"llama", "deepseek_v3", CallForm::deepseek_v3},
           // It writes calls only beside null, which no template gets to see: what it mentions counts.
           {"llama", "deepseek_r1_distill", CallForm::deepseek_v3},
           {"qwen2", "deepseek_r1_distill", CallForm::deepseek_v3},
           // Without a word of calls: what the family does.
           {"qwen2", "chatml_qwen1_5", CallForm::tagged_json},
           {"deepseek_v2", "deepseek_v2", CallForm::deepseek_v3}})
    EXPECT_EQ(form(family, golden(name)), want) << family << ", " << name;
  const std::string xml =
      "{% for m in messages %}[{{ m.role }}]{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>\n"
      "<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n"
      "{{ v }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}[end]\n{% endfor %}";
  EXPECT_EQ(form("qwen3_moe", xml), CallForm::tagged_xml);
  EXPECT_EQ(form("qwen3", xml), CallForm::tagged_xml);
}

TEST(ReplyFormat, NeverFails) {
  for (const char* broken : {"", "{% if %}", "{{ raise_exception('no') }}", "{{ messages[0].x.y.z }}", "x",
                             "{{ messages[-1].tool_calls }}", "{% for i in range(100000) %}{{ i }}{% endfor %}"})
    EXPECT_EQ(form("qwen3_moe", broken), CallForm::tagged_json) << broken;
  EXPECT_EQ(reply_format({}, std::nullopt).calls, CallForm::tagged_json);
  EXPECT_EQ(reply_format({.calls = {}}, std::nullopt).calls, CallForm::none);
  EXPECT_EQ(reply_format({.calls = {CallForm::dsml}}, ChatTemplate(Error("it cannot be read"))).calls,
            CallForm::dsml);
}

TEST(ReplyFormat, OfCheckpoints) {
  const auto of = [](const fs::path& path) { return TextModel::read(Checkpoint::open(path)).reply; };
  EXPECT_EQ(of(testing::test_model("gqa")).calls, CallForm::tagged_json);
  EXPECT_EQ(of(testing::test_model("mla")).calls, CallForm::deepseek_v3);
  EXPECT_EQ(of(fs::path(CACHALOT_SOURCE_DIR) / "models/tiny-r1").calls, CallForm::deepseek_v3);
  EXPECT_EQ(of(fs::path(CACHALOT_SOURCE_DIR) / "models/tiny-qwen").calls, CallForm::tagged_json);
  // Text needs no family that runs.
  const TemporaryFolder folder;
  for (const char* name : {"model.safetensors", "tokenizer.json"})
    fs::create_symlink(fs::path(CACHALOT_SOURCE_DIR) / "models/tiny-qwen" / name, folder.path() / name);
  std::ofstream(folder.path() / "config.json") << R"({"architectures": ["NobodyForCausalLM"]})";
  EXPECT_EQ(of(folder.path()).calls, CallForm::tagged_json);
}

}  // namespace
}  // namespace cachalot
