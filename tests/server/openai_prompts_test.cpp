// What chat's fields make of a prompt, and of what an answer may hold.
#include <gmock/gmock.h>

#include <chrono>

#include "server/openai/fields.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::HasSubstr;

Json function_tool(const std::string& name, const Json& more = Json::object()) {
  Json function = {{"name", name}};
  function.update(more);
  return {{"type", "function"}, {"function", function}};
}

Json call(const Json& arguments) {
  return {{"id", "c1"}, {"type", "function"}, {"function", {{"name", "weather"}, {"arguments", arguments}}}};
}

// A model's text side, which is asked.
struct Model {
  const Served& side;
  ScriptedGenerator generator;
  Asking asking{side.model, generator};

  explicit Model(const std::string& name, const std::string& says = "Hi")
      : side(served(name)), generator(saying(side.text.tokenizer, {says})) {}

  RecordedExchange ask(const Json& messages, const Json& more = Json::object()) {
    Json body = {{"messages", messages}};
    body.update(more);
    return asking.chat(body);
  }
  RecordedExchange hello(const Json& more) { return ask(Json::array({user("Hello")}), more); }
  const Request& asked() const { return generator.asked.back(); }
  std::string prompt() const { return side.text.tokenizer.decode(asked().prompt); }
  // What the model is made to say after `said`: "" where it may choose.
  std::string forced(const std::string& said) const {
    const Tokenizer& tokenizer = side.text.tokenizer;
    std::vector<int32_t> tokens = tokenizer.encode(said), all;
    if (!asked().allowed) return "";
    while (true) {
      const auto mask = asked().allowed(0, tokens);
      if (mask.empty()) return tokenizer.decode(all);
      for (int id = 0; id < side.model.vocab; ++id)
        if (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) {
          all.push_back(id);
          break;
        }
      tokens.push_back(all.back());
    }
  }
};

constexpr const char* kOff = "<think>\n\n</think>\n\n";  // what Qwen3's template ends with when its switch is off
constexpr const char* kEnd = "\n</think>\n\n";           // what ends reasoning

TEST(OpenAiPrompts, TakeEveryWayToSwitchReasoningOff) {
  Model qwen("gqa"), deepseek("mla");
  for (const Json& off : std::vector<Json>{
           {{"enable_thinking", false}},
           {{"chat_template_kwargs", {{"enable_thinking", false}}}},
           {{"chat_template_kwargs", {{"thinking", false}}}},
           {{"reasoning_effort", "none"}},
           {{"reasoning_effort", "minimal"}},
           {{"reasoning", {{"enabled", false}}}},
           {{"reasoning", {{"effort", "none"}}}},
           {{"reasoning", {{"max_tokens", 0}}}},
           {{"thinking", {{"type", "disabled"}}}},
           {{"thinking_token_budget", 0}},
           {{"enable_thinking", false}, {"reasoning_effort", "high"}},
           {{"enable_thinking", true}, {"thinking", {{"type", "disabled"}}}},
           {{"chat_template_kwargs", {{"enable_thinking", true}}}, {"enable_thinking", false}},
       }) {
    SCOPED_TRACE(off.dump());
    ASSERT_EQ(qwen.hello(off).status, 200);
    EXPECT_TRUE(qwen.prompt().ends_with(kOff));
    EXPECT_EQ(qwen.forced("<think>"), kEnd) << "should it reason nevertheless";
    EXPECT_EQ(qwen.forced("No"), "");
    ASSERT_EQ(deepseek.hello(off).status, 200);
    EXPECT_EQ(deepseek.forced("<think>"), kEnd) << "its template has no switch";
  }
}

TEST(OpenAiPrompts, LimitReasoning) {
  Model qwen("gqa");
  const std::string thought = "<think>One two three";
  struct Case {
    Json fields;
    const char* after_three;
  };
  for (const Case& c : std::vector<Case>{
           {{{"thinking_token_budget", 3}}, kEnd},
           {{{"thinking_budget", 3}}, kEnd},
           {{{"thinking_budget_tokens", 3}}, kEnd},
           {{{"max_thinking_tokens", 3}}, kEnd},
           {{{"thinking", {{"type", "enabled"}, {"budget_tokens", 3}}}}, kEnd},
           {{{"thinking", {{"type", "adaptive"}, {"budget", 3}}}}, kEnd},
           {{{"reasoning", {{"max_tokens", 3}}}}, kEnd},
           {{{"thinking_budget", 3}, {"max_thinking_tokens", 100}}, kEnd},
           {{{"max_thinking_tokens", 3}, {"thinking_budget", -1}}, kEnd},
           {{{"max_thinking_tokens", 3}, {"reasoning_effort", "high"}}, kEnd},
           {{{"max_thinking_tokens", 3}, {"allowed_token_ids", {5}}, {"min_tokens", 1}}, kEnd},
           {{{"thinking_budget", 4}}, ""},
           {{{"thinking_budget", -1}}, ""},
           {{{"reasoning_effort", "low"}}, ""},
           {{{"reasoning_effort", "medium"}}, ""},
           {{{"enable_thinking", true}}, ""},
           {Json::object(), ""},
       }) {
    SCOPED_TRACE(c.fields.dump());
    ASSERT_EQ(qwen.hello(c.fields).status, 200);
    EXPECT_FALSE(qwen.prompt().ends_with(kOff));
    if (c.fields.contains("allowed_token_ids"))
      EXPECT_EQ(qwen.asked().allowed(0, qwen.side.text.tokenizer.encode("No"))[0], uint64_t{1} << 5);
    else
      EXPECT_EQ(qwen.forced(thought), c.after_three);
  }
  std::string long_thought = "<think>";
  for (int i = 0; i < 1023; ++i) long_thought += " so";
  qwen.hello({{"reasoning_effort", "low"}});
  EXPECT_EQ(qwen.forced(long_thought), "");
  EXPECT_EQ(qwen.forced(long_thought + " so"), kEnd);
  qwen.hello({{"reasoning_effort", "low"}, {"thinking_budget", 1000}});
  EXPECT_EQ(qwen.forced(long_thought), "") << "spent before: the model's own end may come";
}

TEST(OpenAiPrompts, LeaveReasoningOutOfTheAnswerWhenAsked) {
  Model qwen("gqa", "<think>Hm</think>Yes");
  const Json message = qwen.hello({{"reasoning", {{"exclude", true}}}}).json()["choices"][0]["message"];
  EXPECT_EQ(message["content"], "Yes");
  EXPECT_FALSE(message.contains("reasoning_content"));
}

TEST(OpenAiPrompts, RefuseToolsThatCannotBeCalled) {
  Model qwen("gqa");
  struct Case {
    Json tools;
    std::string param;
  };
  for (const Case& c : std::vector<Case>{
           {{function_tool("a"), function_tool("b"), function_tool("a")}, "tools[2].function.name"},
           {{function_tool("a"), function_tool("b c")}, "tools[1].function.name"},
           {{function_tool("a"), function_tool("b\"")}, "tools[1].function.name"},
           {{function_tool("a"), function_tool("")}, "tools[1].function.name"},
           {{function_tool("a"), function_tool(std::string(65, 'x'))}, "tools[1].function.name"},
           {{function_tool("a"), function_tool("b", {{"parameters", "x"}})}, "tools[1].function.parameters"},
           {{function_tool("a"), function_tool("b", {{"parameters", {{"properties", {1}}}}})},
            "tools[1].function.parameters.properties"},
           {{function_tool("a"), function_tool("b", {{"strict", "yes"}})}, "tools[1].function.strict"},
           {{function_tool("a"), {{"type", "web_search"}}}, "tools[1].type"},
           {{function_tool("a"), {{"type", "function"}, {"name", "b"}}}, "tools[1].function"},
       }) {
    const RecordedExchange exchange = qwen.hello({{"tools", c.tools}});
    EXPECT_EQ(exchange.status, 400) << c.tools;
    EXPECT_EQ(exchange.json()["error"]["param"], c.param) << c.tools;
  }
  EXPECT_EQ(qwen.hello({{"tools", {function_tool(std::string(64, 'x')), function_tool("天气/now:v1.2")}}}).status,
            200);
}

TEST(OpenAiPrompts, SayWhetherOneCallIsWanted) {
  const ServedModel& model = served("gqa").model;
  EXPECT_FALSE(openai::read_chat(Json::object(), model).one_call);
  EXPECT_FALSE(openai::read_chat({{"parallel_tool_calls", true}}, model).one_call);
  EXPECT_TRUE(openai::read_chat({{"parallel_tool_calls", false}}, model).one_call);
}

// DeepSeek-V3's template prints calls where the content is null, and nothing but that.
TEST(OpenAiPrompts, HaveTheCallsOfDeepSeekV3) {
  Model deepseek("mla");
  const Json result = {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "Rain"}};
  for (const Json& arguments : {Json(R"({"city":  "Köln"})"), Json({{"city", "Köln"}})})
    for (const Json& content : {Json(nullptr), Json(""), Json("I look.")}) {
      const Json said = {{"role", "assistant"}, {"content", content}, {"tool_calls", Json::array({call(arguments)})}};
      ASSERT_EQ(deepseek.ask({user("Weather?"), said, result}).status, 200);
      const std::string prompt = deepseek.prompt();
      EXPECT_THAT(prompt, HasSubstr("weather"));
      EXPECT_THAT(prompt, HasSubstr(arguments.is_string() ? R"({"city":  "Köln"})" : R"({"city": "Köln"})"));
      EXPECT_THAT(prompt, HasSubstr("Rain"));
      EXPECT_THAT(prompt, HasSubstr(content == "I look." ? "<｜Assistant｜>I look." : "<｜Assistant｜>"));
    }
}

TEST(OpenAiPrompts, MapTheRolesOfOldClients) {
  Model qwen("gqa");
  const Json messages = {user("a"), {{"role", "function"}, {"name", "f"}, {"content", "42"}}, user("b")};
  ASSERT_EQ(qwen.ask(messages).status, 200);
  EXPECT_THAT(qwen.prompt(), HasSubstr("<tool_response>\n42\n</tool_response>"));
  EXPECT_EQ(qwen.ask({user("a"), {{"role", "user"}, {"content", "b"}, {"tool_calls", Json::array({call("{}")})}}})
                .json()["error"]["param"],
            "messages[1].tool_calls");
}

// Nobody cuts into tokens what cannot fit.
TEST(OpenAiPrompts, AreRefusedByTheirSizeBeforeTheyAreCut) {
  Model qwen("gqa");
  const Tokenizer& tokenizer = qwen.side.text.tokenizer;
  size_t longest = 0;
  for (int id = 0; id < tokenizer.size(); ++id) longest = std::max(longest, tokenizer.bytes(id).size());
  const std::string text(3 * longest * static_cast<size_t>(qwen.side.model.context), 'a');
  const auto start = std::chrono::steady_clock::now();
  for (const RecordedExchange& exchange :
       {qwen.ask(Json::array({user(text)})), qwen.asking.complete({{"prompt", text}}),
        qwen.asking.complete({{"prompt", "x"}, {"suffix", text}})}) {
    EXPECT_EQ(exchange.status, 400);
    const Json error = exchange.json()["error"];
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("at least 4096 tokens"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_TRUE(qwen.generator.asked.empty());
}

}  // namespace
}  // namespace cachalot::testing
