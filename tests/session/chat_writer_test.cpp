// Conversations as templates are to write them: tests/goldens/templates/requests.json, made by
// tools/goldens/chat_requests.py, which states by hand what each template does; here the templates are asked.
#include "session/chat_writer.h"

#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <memory>

#include "base/error.h"
#include "formats/real_vocabularies.h"
#include "session/chat_request.h"

namespace cachalot {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path kTemplates = CACHALOT_SOURCE_DIR "/tests/goldens/templates";

Json read_json(const std::filesystem::path& path) { return Json::parse(read_text_file(path)); }

CallForm form_named(const std::string& name) {
  static const std::map<std::string, CallForm> kForms = {
      {"tagged_json", CallForm::tagged_json},
      {"tagged_xml", CallForm::tagged_xml},
      {"dsml", CallForm::dsml},
      {"deepseek_v3", CallForm::deepseek_v3},
      {"llama_json", CallForm::llama_json},
      {"deepseek_v31", CallForm::deepseek_v31},
  };
  return kForms.at(name);
}

ChatRole role_named(const std::string& name) {
  static const std::map<std::string, ChatRole> kRoles = {{"system", ChatRole::system},
                                                         {"user", ChatRole::user},
                                                         {"assistant", ChatRole::assistant},
                                                         {"tool", ChatRole::tool}};
  return kRoles.at(name);
}

ChatRequest request_of(const Json& json) {
  ChatRequest request{.opens_answer = json.value("opens_answer", !json.contains("continues_last")),
                      .continues_last = json.value("continues_last", false)};
  for (const Json& m : json["messages"]) {
    ChatMessage& message = request.messages.emplace_back();
    message.role = role_named(m["role"]);
    message.text = m["text"];
    if (m.contains("reasoning")) message.reasoning = m["reasoning"].get<std::string>();
    for (const Json& call : m.value("calls", Json::array()))
      message.calls.push_back({.id = call["id"], .name = call["name"], .arguments = call["arguments"]});
    message.call_id = m.value("call_id", "");
  }
  request.tools = json.value("tools", Json::array());
  request.variables = json.value("variables", Json::object());
  const Json wishes = json.value("thinking", Json::object());
  if (wishes.contains("on")) request.thinking.on = wishes["on"].get<bool>();
  if (wishes.contains("effort")) request.thinking.effort = effort_named(wishes["effort"].get<std::string>());
  if (wishes.contains("most_tokens")) request.thinking.most_tokens = wishes["most_tokens"].get<int>();
  return request;
}

std::string token(const Json& config, const char* name) {
  const auto found = config.find(name);
  if (found == config.end() || found->is_null()) return "";
  return found->is_object() ? (*found)["content"].get<std::string>() : found->get<std::string>();
}

// One of the goldens' own, of a file beside them, of a real vocabulary, or of a model that ships.
ChatTemplate template_named(const std::string& name, const Json& golden) {
  if (name.ends_with(".jinja"))
    return {read_text_file(kTemplates / name), golden["bos_token"].get<std::string>(),
            golden["eos_token"].get<std::string>()};
  if (golden["templates"].contains(name))
    return {golden["templates"][name].get<std::string>(), golden["bos_token"].get<std::string>(),
            golden["eos_token"].get<std::string>()};
  if (name.starts_with("tiny"))
    return {read_json(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models" / name /
                      "tokenizer_config.json")["chat_template"]
                .get<std::string>(),
            "", ""};
  const Json config = read_json(vocabulary_folder(name) / "tokenizer_config.json");
  return {config["chat_template"].get<std::string>(), token(config, "bos_token"), token(config, "eos_token")};
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n");
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(" \n") + 1 - begin);
}

// Nobody's words are lost. Arguments may be written in any form, so their parts are looked for.
void expect_all_said(const std::string& text, const Json& request) {
  for (const Json& message : request["messages"]) {
    EXPECT_THAT(text, HasSubstr(trimmed(message["text"])));
    for (const Json& call : message.value("calls", Json::array())) {
      EXPECT_THAT(text, HasSubstr(call["name"].get<std::string>()));
      if (!call["arguments"].is_object()) continue;
      for (const auto& [key, value] : call["arguments"].items()) {
        EXPECT_THAT(text, HasSubstr(key));
        if (value.is_number()) { EXPECT_THAT(text, HasSubstr(value.dump())); }
      }
    }
  }
  for (const Json& tool : request.value("tools", Json::array()))
    EXPECT_THAT(text, HasSubstr(tool["function"]["name"].get<std::string>()));
}

TEST(ChatWriter, ArrangesEveryConversationForEveryTemplate) {
  const Json golden = read_json(kTemplates / "requests.json");
  std::map<std::string, std::pair<std::unique_ptr<ChatTemplate>, std::unique_ptr<ChatWriter>>> writers;
  for (const Json& c : golden["cases"]) {
    const auto name = c["template"].get<std::string>();
    SCOPED_TRACE(name + ", " + c["request"].get<std::string>());
    auto& [chat_template, writer] = writers[name];
    if (!writer) {
      chat_template = std::make_unique<ChatTemplate>(template_named(name, golden));
      writer = std::make_unique<ChatWriter>(*chat_template, ReplyFormat{.calls = form_named(golden["forms"][name])});
    }
    const Json& request = golden["requests"][c["request"].get<std::string>()];
    try {
      const WrittenChat written = writer->write(request_of(request));
      EXPECT_EQ(written.text.text, c.value("output", "a refusal"));
      EXPECT_EQ(written.reasoning_tokens ? Json(*written.reasoning_tokens) : Json(nullptr), c.value("limit", Json()));
      expect_all_said(written.text.text, request);
    } catch (const Error& error) { EXPECT_TRUE(c.contains("error")) << error.what(); }
  }
  EXPECT_EQ(writers.size(), golden["forms"].size());
  EXPECT_EQ(golden["cases"].size(), golden["forms"].size() * golden["requests"].size());
}

// Qwen3 keeps the reasoning of the tools' loop that is not over, DeepSeek keeps none.
TEST(ChatWriter, KeepsTheReasoningThatTheTemplateKeeps) {
  const Json golden = read_json(kTemplates / "requests.json");
  const auto written = [&](const char* name, const char* request) {
    const ChatTemplate chat_template = template_named(name, golden);
    return ChatWriter(chat_template, {}).write(request_of(golden["requests"][request])).text.text;
  };
  EXPECT_THAT(written("qwen3", "open loop"), HasSubstr("<think>\nI must look.\n</think>\n\n<tool_call>"));
  for (const char* name : {"qwen3", "deepseek_v3", "deepseek_r1_distill.jinja", "deepseek_v3_1.jinja"})
    EXPECT_THAT(written(name, "loop"), Not(HasSubstr("I must look."))) << name;
  EXPECT_THAT(written("deepseek_v3", "open loop"), Not(HasSubstr("I must look.")));
}

// Where a template writes both, what stands between reasoning and answer is what a spent limit makes the model say.
TEST(ChatWriter, EndsReasoningAsTemplatesDo) {
  const Json golden = read_json(kTemplates / "requests.json");
  const Json messages = {{{"role", "user"}, {"content", "A question."}},
                         {{"role", "assistant"}, {"content", "So."}, {"reasoning_content", "Because."}}};
  int both = 0;
  for (const auto& [name, form] : golden["forms"].items()) {
    std::string text;
    try {
      text = template_named(name, golden).render({{"messages", messages}, {"add_generation_prompt", false}});
    } catch (const Error&) { continue; }
    const size_t thought = text.find("Because."), answer = text.find("So.");
    if (thought == text.npos || answer == text.npos) continue;
    ++both;
    EXPECT_EQ(text.substr(thought + 8, answer - thought - 8), ReplyFormat().reasoning_end) << name;
  }
  EXPECT_GE(both, 4);
}

// What was said is no mark of a call, what is written around it is.
TEST(ChatWriter, KeepsWhatWasSaidApartFromTheMarksOfCalls) {
  const ChatTemplate plain("{% for m in messages if m.role != 'tool' %}{{ m.role }}:{{ m.content }}|{% endfor %}", "",
                           "");
  const ChatWriter writer(plain, ReplyFormat{.calls = CallForm::tagged_json});
  ChatRequest request;
  request.messages.push_back({.role = ChatRole::user, .text = "a</tool_call>"});
  request.messages.push_back({.role = ChatRole::assistant,
                              .text = "<tool_call>b",
                              .calls = {{.id = "1", .name = "f", .arguments = R"({"x": "</tool_call>"})"}}});
  request.messages.push_back({.role = ChatRole::tool, .text = "</tool_response>"});
  const WrittenChat written = writer.write(request);
  std::string shown;
  for (size_t i = 0; i < written.text.text.size(); ++i)
    shown += written.text.provenance.said(i, i + 1) ? '.' : written.text.text[i];
  EXPECT_EQ(written.text.text,
            "user:a</tool_call>|assistant:<tool_call>b\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": "
            "\"</tool_call>\"}}\n</tool_call>|user:<tool_response>\n</tool_response>\n</tool_response>|");
  EXPECT_EQ(shown,
            "user:.............|assistant:<tool_call>.\n<tool_call>\n{\"name\": \".\", \"arguments\": "
            ".....................}\n</tool_call>|user:<tool_response>\n................\n</tool_response>|");
}

// A template tells whose a result is by its place alone.
TEST(ChatWriter, ResultsStandInTheOrderOfTheirCalls) {
  const ChatTemplate plain(
      "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or () %}<{{ c.function.name ~ "
      "c.function.arguments }}>{% endfor %}|{% endfor %}",
      "", "");
  const ChatWriter writer(plain, {});
  const auto written = [&](std::vector<std::pair<std::string, std::string>> results) {
    ChatRequest request;
    request.messages.push_back({.role = ChatRole::user, .text = "Hi"});
    request.messages.push_back({.role = ChatRole::assistant,
                                .calls = {{.id = "a", .name = "f", .arguments = "1"},
                                          {.id = "b", .name = "g", .arguments = "2"},
                                          {.id = "c", .name = "h", .arguments = "3"}}});
    for (const auto& [id, text] : results)
      request.messages.push_back({.role = ChatRole::tool, .text = text, .call_id = id});
    request.messages.push_back({.role = ChatRole::user, .text = "And?"});
    const std::string text = writer.write(request).text.text;
    return text.substr(text.find('>', text.find("<h")));
  };
  EXPECT_EQ(written({{"a", "A"}, {"b", "B"}, {"c", "C"}}), written({{"c", "C"}, {"a", "A"}, {"b", "B"}}));
  EXPECT_EQ(written({{"b", "B"}, {"a", "A"}}), ">|A|B|And?|");
  EXPECT_EQ(written({{"b", "B"}, {"?", "X"}, {"a", "A"}}), ">|B|X|A|And?|") << "nobody knows where X belongs";
}

// Some checkpoints have a template of its own for conversations with tools.
TEST(ChatWriter, KnowsTheHabitsOfBothTemplates) {
  const ChatTemplate two(
      {{"default", "{% for m in messages %}[{{ m.content }}]{% endfor %}"},
       {"tool_use",
        "{{ tools|tojson }}{% for m in messages %}[{{ m.content }}{% for c in m.tool_calls or () %}"
        "<{{ c.function.name ~ c.function.arguments|tojson }}>{% endfor %}]{% endfor %}"}},
      {});
  const ChatWriter writer(two, {});
  ChatRequest request;
  request.messages.push_back({.role = ChatRole::user, .text = "Hi"});
  request.messages.push_back(
      {.role = ChatRole::assistant, .calls = {{.id = "1", .name = "f", .arguments = R"({"x": 1})"}}});
  EXPECT_EQ(writer.write(request).text.text,
            "[Hi][<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>]");
  request.tools = Json::array({{{"type", "function"}, {"function", {{"name", "f"}}}}});
  EXPECT_EQ(writer.write(request).text.text, R"([{"type": "function", "function": {"name": "f"}}][Hi][<f{"x": 1}>])");
}

// A checkpoint is not trusted: asking its template has an end.
TEST(ChatWriter, AsksATemplateThatNeverEndsInShortTime) {
  const ChatTemplate slow(
      "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a * b %}{% endfor %}{% endfor %}x", "", "");
  const auto start = std::chrono::steady_clock::now();
  const ChatWriter writer(slow, {});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(ChatWriter, SaysWhatATemplateRefuses) {
  const ChatTemplate picky("{% if messages|length != 2 %}{{ raise_exception('Two, please') }}{% endif %}x", "", "");
  const ChatWriter writer(picky, {});
  ChatRequest request;
  request.messages.push_back({.role = ChatRole::user, .text = "Hi"});
  try {
    ADD_FAILURE() << writer.write(request).text.text;
  } catch (const Error& error) { EXPECT_THAT(error.what(), HasSubstr("Two, please")); }
}

}  // namespace
}  // namespace cachalot
