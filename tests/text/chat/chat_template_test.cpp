// Chat templates against transformers: tests/goldens/templates/families.json and vocabularies.json, made by
// tools/goldens/templates.py.
#include "text/chat/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
const std::filesystem::path kGoldens = CACHALOT_SOURCE_DIR "/tests/goldens/templates";

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return Json::parse(file);
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void expect_case(const ChatTemplate& chat, const Json& variables, const Json& golden) {
  SCOPED_TRACE(golden["template"].get<std::string>() + ", " + golden["conversation"].get<std::string>());
  if (golden.contains("output")) {
    EXPECT_NO_THROW(EXPECT_EQ(chat.render(variables), golden["output"].get<std::string>()));
    return;
  }
  try {
    ADD_FAILURE() << "an error was expected, not: " << chat.render(variables);
  } catch (const Error& error) {
    if (!golden.contains("raised")) return;
    EXPECT_THAT(error.what(),
                HasSubstr("the chat template refused the conversation: " + golden["raised"].get<std::string>()));
  }
}

TEST(ChatTemplate, TheFamiliesOfTheSpecificationRenderAsInTransformers) {
  const Json golden = read_json(kGoldens / "families.json");
  std::map<std::string, std::unique_ptr<ChatTemplate>> templates;
  int raised = 0;
  for (const Json& c : golden["cases"]) {
    auto& chat = templates[c["template"]];
    if (!chat) {
      chat = std::make_unique<ChatTemplate>(read_text(kGoldens / c["template"].get<std::string>()),
                                            golden["bos_token"].get<std::string>(),
                                            golden["eos_token"].get<std::string>());
    }
    expect_case(*chat, golden["conversations"][c["conversation"].get<std::string>()], c);
    raised += c.contains("raised");
  }
  EXPECT_GE(golden["cases"].size(), 600u);
  EXPECT_GE(raised, 8);
}

TEST(ChatTemplate, TheLastMessageIsContinuedAsInTransformers) {
  const Json golden = read_json(kGoldens / "continued.json");
  size_t refused = 0;
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["template"].get<std::string>() + ", " + c["answer"].get<std::string>());
    const ChatTemplate chat(read_text(kGoldens / c["template"].get<std::string>()), "<｜begin▁of▁sentence｜>",
                            "<｜end▁of▁sentence｜>");
    const Json asked = {{"role", "user"}, {"content", golden["asked"]}},
               answer = {{"role", "assistant"}, {"content", golden["answers"][c["answer"].get<std::string>()]}};
    const Json variables = {{"messages", {asked, answer}}, {"add_generation_prompt", false}};
    if (c.contains("output")) {
      EXPECT_NO_THROW(EXPECT_EQ(chat.write_continued(variables).text, c["output"].get<std::string>()));
    } else {
      ++refused;
      EXPECT_THROW(chat.write_continued(variables), Error);
    }
  }
  EXPECT_GE(golden["cases"].size(), 100u);
  EXPECT_GE(refused, 3u);
}

TEST(ChatTemplate, EveryTemplateAmongTheGoldensIsRead) {
  std::set<std::string> used;
  const Json golden = read_json(kGoldens / "families.json");
  for (const Json& c : golden["cases"]) used.insert(c["template"].get<std::string>());
  for (const auto& entry : std::filesystem::directory_iterator(kGoldens)) {
    if (entry.path().extension() != ".jinja") continue;
    EXPECT_TRUE(used.count(entry.path().filename())) << entry.path();
  }
}

std::string token(const Json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return "";
  return found->is_object() ? (*found)["content"].get<std::string>() : found->get<std::string>();
}

TEST(ChatTemplate, ThePublishedTemplatesOfDeepSeekV3AndQwen3RenderAsInTransformers) {
  const char* folder = std::getenv("CACHALOT_VOCABULARIES");
  const std::filesystem::path vocabularies = folder ? folder : CACHALOT_SOURCE_DIR "/build/vocabularies";
  const Json conversations = read_json(kGoldens / "families.json")["conversations"];
  const Json golden = read_json(kGoldens / "vocabularies.json");
  for (const char* name : {"deepseek_v3", "qwen3"}) {
    const auto path = vocabularies / name / "tokenizer_config.json";
    ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing; tools/fetch_vocabularies.sh fetches it";
    const Json config = read_json(path);
    const ChatTemplate chat(config["chat_template"].get<std::string>(), token(config, "bos_token"),
                            token(config, "eos_token"));
    size_t cases = 0;
    for (const Json& c : golden["cases"]) {
      if (c["template"] != name) continue;
      ++cases;
      expect_case(chat, conversations[c["conversation"].get<std::string>()], c);
    }
    EXPECT_EQ(cases, conversations.size()) << name;
  }
}

TEST(ChatTemplate, TokensThatTheTokenizerLacksStayUndefined) {
  const Json hi = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  EXPECT_EQ(ChatTemplate("{{ bos_token is defined }} {{ eos_token }}", "", "</s>").render(hi), "False </s>");
  Json other = hi;
  other["eos_token"] = "<end>";
  EXPECT_EQ(ChatTemplate("{{ eos_token }}", "", "</s>").render(other), "<end>");
}

TEST(ChatTemplate, ToolsAreAlwaysDefinedAndTheGenerationPromptIsOn) {
  const ChatTemplate chat("{{ tools is none }} {{ documents is none }} {{ add_generation_prompt }}", "", "");
  EXPECT_EQ(chat.render({{"messages", Json::array()}}), "True True True");
  EXPECT_EQ(chat.render({{"messages", Json::array()}, {"add_generation_prompt", false}}), "True True False");
}

TEST(ChatTemplate, AConversationOfAnotherFormIsRefused) {
  const ChatTemplate chat("x", "", "");
  EXPECT_THROW(chat.render(Json::array()), Error);
  EXPECT_THROW(chat.render(Json::object()), Error);
  EXPECT_THROW(chat.render({{"messages", "Hi"}}), Error);
  EXPECT_THROW(chat.render({{"messages", {"Hi"}}}), Error);
  for (const char* name : {"tools", "documents"}) {  // as transformers 5.24 checks them
    EXPECT_THROW(chat.render({{"messages", Json::array()}, {name, "x"}}), Error);
    EXPECT_THROW(chat.render({{"messages", Json::array()}, {name, {Json::object(), "x"}}}), Error);
    EXPECT_EQ(chat.render({{"messages", Json::array()}, {name, {Json::object()}}}), "x");
  }
  EXPECT_THROW(ChatTemplate("{% if %}", "", ""), Error);
}

}  // namespace
}  // namespace cachalot
