// What /v1/messages makes of messages, blocks and tools: the prompt that chat completions make of the same
// conversation, and the template's own.
#include <gmock/gmock.h>

#include "base/mapped_file.h"
#include "server/dialect/reasoning.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Side {
  const Served& side;
  ScriptedGenerator generator;
  Asking asking{side.model, generator};

  explicit Side(const std::string& name, const std::string& says = "Hi")
      : side(served(name)), generator(saying(side.text.tokenizer, {says})) {}

  std::string decoded() const { return side.text.tokenizer.decode(generator.asked.back().prompt); }
  RecordedExchange ask(const Json& messages, const Json& more = Json::object()) {
    Json body = {{"max_tokens", 100}, {"messages", messages}};
    body.update(more);
    return asking.message(body);
  }
  std::string prompt(const Json& messages, const Json& more = Json::object()) {
    const RecordedExchange exchange = ask(messages, more);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return decoded();
  }
  std::string chat_prompt(const Json& messages, const Json& more = Json::object()) {
    Json body = {{"messages", messages}};
    body.update(more);
    const RecordedExchange exchange = asking.chat(body);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return decoded();
  }
  std::string refusal(const Json& messages, const Json& more = Json::object()) {
    const RecordedExchange exchange = ask(messages, more);
    EXPECT_EQ(exchange.status, 400) << exchange.body;
    EXPECT_EQ(exchange.json()["type"], "error");
    EXPECT_EQ(exchange.json()["error"]["type"], "invalid_request_error");
    return exchange.json()["error"]["message"];
  }
};

Json said(const std::string& role, const Json& content) { return {{"role", role}, {"content", content}}; }
Json text(const std::string& text) { return {{"type", "text"}, {"text", text}}; }
Json thought(const std::string& text, const std::string& signature = "x") {
  return {{"type", "thinking"}, {"thinking", text}, {"signature", signature}};
}
Json use(const std::string& id, const std::string& name, const Json& input) {
  return {{"type", "tool_use"}, {"id", id}, {"name", name}, {"input", input}};
}
Json result(const std::string& id, const Json& content) {
  return {{"type", "tool_result"}, {"tool_use_id", id}, {"content", content}};
}
Json tool(const std::string& name, const Json& more = Json::object()) {
  Json tool = {{"name", name},
               {"description", "does " + name},
               {"input_schema", {{"type", "object"}, {"properties", Json::object()}}}};
  tool.update(more);
  return tool;
}
Json chat_tool(const std::string& name) {
  return {
      {"type", "function"},
      {"function", {{"name", name}, {"description", "does " + name}, {"parameters", tool(name)["input_schema"]}}}};
}
Json chat_call(const std::string& id, const std::string& name, const Json& arguments) {
  return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
}
const Json kHello = Json::array({user("Hello")});

TEST(AnthropicInput, IsTheConversationOfChat) {
  for (const char* name : {"gqa", "mla"}) {
    Side side(name);
    const Json messages = {said("user", "Hello"), said("assistant", "Hi."),
                           said("user", {text("And"), text("now?")})};
    const Json chat = {said("system", "Be brief."), said("user", "Hello"), said("assistant", "Hi."),
                       said("user", "And\nnow?")};
    EXPECT_EQ(side.prompt(messages, {{"system", "Be brief."}}), side.chat_prompt(chat)) << name;
    EXPECT_EQ(side.prompt(messages, {{"system", Json::array({text("Be brief.")})}}), side.chat_prompt(chat)) << name;
  }
}

TEST(AnthropicInput, HasSystemTextsApartByABlankLineAndAlsoBetweenMessages) {
  Side side("gqa");
  EXPECT_THAT(side.prompt(kHello, {{"system", {text("One."), text("Two.")}}}),
              HasSubstr("system\nOne.\n\nTwo.<|im_end|>"));
  const Json between = {said("user", "Hello"), said("system", "Now this."), said("user", "So?")};
  EXPECT_EQ(side.prompt(between), side.chat_prompt(between));
  EXPECT_EQ(
      side.prompt({said("user", "Hello"), said("system", Json::array({text("Now this.")})), said("user", "So?")}),
      side.chat_prompt(between));
  // What holds for one turn only.
  const auto for_one_turn = [&](const Json& behind) {
    Json system = said("system", "Now this.");
    system["clear_at"] = "next_user_message";
    Json messages = {said("user", "Hello"), system};
    if (!behind.is_null()) messages.push_back(behind);
    return side.prompt(messages);
  };
  EXPECT_THAT(for_one_turn(nullptr), HasSubstr("Now this."));
  EXPECT_THAT(for_one_turn(said("user", "So?")), Not(HasSubstr("Now this.")));
}

TEST(AnthropicInput, HasNoBillingLine) {
  Side side("gqa");
  const std::string plain = side.prompt(kHello, {{"system", Json::array({text("Be brief.")})}});
  for (const std::string line : {"x-anthropic-billing-header: cc_version=2.1.332.b09; cc_entrypoint=sdk-cli;",
                                 "x-anthropic-billing-header: cc_version=2.1.332.836; cch=12ab3;"}) {
    EXPECT_EQ(side.prompt(kHello, {{"system", {text(line), text("Be brief.")}}}), plain);
    EXPECT_EQ(side.prompt(kHello, {{"system", line + "\nBe brief."}}), plain);
    EXPECT_EQ(side.prompt(kHello, {{"system", Json::array({text(line)})}}), side.prompt(kHello));
  }
  EXPECT_THAT(side.prompt(kHello, {{"system", "Say x-anthropic-billing-header: a."}}),
              HasSubstr("Say x-anthropic-billing-header: a."));
  EXPECT_THAT(side.prompt(Json::array({said("user", "x-anthropic-billing-header: a")})),
              HasSubstr("x-anthropic-billing-header"));
}

TEST(AnthropicInput, HasCallsAndTheirResultsInFrontOfWhatTheUserSaysBesides) {
  for (const char* name : {"gqa", "mla"}) {
    Side side(name);
    const Json calls = {thought("Hm."), text("Let me look."), use("toolu_1", "read", {{"path", "a"}}),
                        use("toolu_2", "list", Json::object())};
    const Json chat_tools = {{"tools", {chat_tool("read"), chat_tool("list")}}};
    const Json tools = {{"tools", {tool("read"), tool("list")}}};
    const Json chat = {
        user("Look"),
        {{"role", "assistant"},
         {"content", "Let me look."},
         {"reasoning_content", "Hm."},
         {"tool_calls",
          {chat_call("toolu_1", "read", {{"path", "a"}}), chat_call("toolu_2", "list", Json::object())}}},
        {{"role", "tool"}, {"tool_call_id", "toolu_1"}, {"content", "A"}},
        {{"role", "tool"}, {"tool_call_id", "toolu_2"}, {"content", "B\nC"}},
        user("Well?")};
    const std::string expected = side.chat_prompt(chat, chat_tools);
    EXPECT_THAT(expected, HasSubstr("B\nC"));
    const Json b = result("toolu_2", {text("B"), text("C")});
    for (const Json& content : {Json({result("toolu_1", "A"), b, text("Well?")}),
                                Json({b, result("toolu_1", Json::array({text("A")})), text("Well?")}),
                                Json({text("Well?"), result("toolu_1", "A"), b})})
      EXPECT_EQ(side.prompt({user("Look"), said("assistant", calls), said("user", content)}, tools), expected)
          << name;
    EXPECT_EQ(side.prompt(
                  {user("Look"), said("assistant", calls), said("user", {result("toolu_1", "A"), b}), user("Well?")},
                  tools),
              expected)
        << "several messages in a row are one turn";
  }
}

TEST(AnthropicInput, MergesMessagesInARowOfOneRole) {
  Side side("gqa");
  EXPECT_EQ(side.prompt({user("One"), user("Two"), said("assistant", "Three"),
                         said("assistant", Json::array({text("Four")})), user("Five")}),
            side.chat_prompt({user("One\nTwo"), said("assistant", "Three\nFour"), user("Five")}));
}

TEST(AnthropicInput, MayHaveFailedResultsDocumentsAndSearchResults) {
  Side side("gqa");
  const auto with_result = [&](Json block) {
    return side.prompt({user("Look"), said("assistant", Json::array({use("toolu_1", "read", Json::object())})),
                        said("user", Json::array({std::move(block)}))});
  };
  Json failed = result("toolu_1", "no such file");
  failed["is_error"] = true;
  EXPECT_THAT(with_result(failed), HasSubstr("<tool_response>\nError: no such file\n</tool_response>"));
  failed.erase("content");
  EXPECT_THAT(with_result(failed), HasSubstr("<tool_response>\nError\n</tool_response>"));
  failed["is_error"] = false;
  EXPECT_THAT(with_result(failed), HasSubstr("<tool_response>\n\n</tool_response>"));
  EXPECT_THAT(with_result(result("toolu_1", Json::array({{{"type", "tool_reference"}, {"tool_name", "fetch"}}}))),
              HasSubstr("<tool_response>\nThe tool fetch can be called now.\n</tool_response>"));

  const Json document = {{"type", "document"},
                         {"title", "Notes"},
                         {"source", {{"type", "text"}, {"media_type", "text/plain"}, {"data", "Blue."}}}};
  const Json found = {
      {"type", "search_result"}, {"title", "T"}, {"source", "S"}, {"content", Json::array({text("Found.")})}};
  EXPECT_EQ(side.prompt(Json::array({said("user", {document, found, text("So?")})})),
            side.chat_prompt(Json::array({user("Notes\nBlue.\nT\nS\nFound.\nSo?")})));
}

TEST(AnthropicInput, GoesOnWithAnAnswerThatIsBegun) {
  for (const char* name : {"gqa", "mla"}) {
    Side side(name);
    const Json begun = {user("Hello"), said("assistant", "The answer is (")};
    EXPECT_EQ(side.prompt(begun), side.chat_prompt(begun, {{"continue_final_message", true}})) << name;
    EXPECT_EQ(side.prompt({user("Hello"), said("assistant", Json::array())}), side.prompt(kHello))
        << "nothing is begun";
    EXPECT_THAT(side.refusal({user("Hello"), said("assistant", "So ")}),
                HasSubstr("messages[1].content: ends with white space"));
    EXPECT_THAT(side.refusal({user("Hello"), said("assistant", Json::array({thought("Hm.")}))}),
                HasSubstr("thinking alone"));
    EXPECT_THAT(side.refusal({user("Hello"), said("assistant", Json::array({use("a", "f", Json::object())}))}),
                HasSubstr("results are missing"));
  }
}

TEST(AnthropicInput, SaysSomething) {
  Side side("gqa");
  const std::vector<Json> nothing = {
      Json::array({said("assistant", "")}),
      Json::array({said("assistant", Json::array())}),
      Json::array({said("assistant", Json::array({{{"type", "redacted_thinking"}, {"data", "x"}}}))}),
      Json::array({said("system", "")}),
      {said("system", ""), said("assistant", "")},
      Json::array({said("system", "x-anthropic-billing-header: a")}),
      Json::array({{{"role", "system"}}})};
  for (const Json& messages : nothing) {
    EXPECT_THAT(side.refusal(messages), HasSubstr("messages: say nothing")) << messages;
    EXPECT_EQ(side.asking.count({{"messages", messages}}).status, 400);
  }
}

TEST(AnthropicInput, IsRefusedByItsPath) {
  Side side("gqa");
  const Json image = {{"type", "image"},
                      {"source", {{"type", "base64"}, {"media_type", "image/png"}, {"data", "AA=="}}}};
  const auto user_has = [&](const Json& block) {
    return side.refusal(Json::array({said("user", {text("Look"), block})}));
  };
  EXPECT_THAT(user_has(image), HasSubstr("messages[0].content[1].type: is 'image'; the model reads text alone"));
  EXPECT_THAT(user_has({{"type", "document"}, {"source", {{"type", "base64"}, {"data", "AA=="}}}}),
              HasSubstr("messages[0].content[1].source.type: is 'base64'"));
  EXPECT_THAT(user_has(result("toolu_9", "x")),
              HasSubstr("messages[0].content[1].tool_use_id: is 'toolu_9', and no tool_use"));
  EXPECT_THAT(user_has({{"type", "container_upload"}}), HasSubstr("'container_upload'"));
  EXPECT_THAT(user_has(thought("Hm.")), HasSubstr("'thinking'"));
  EXPECT_THAT(side.refusal({user("Look"), said("assistant", Json::array({use("a", "f", Json::object())})),
                            said("user", Json::array({result("a", Json::array({image}))}))}),
              HasSubstr("messages[2].content[0].content[0].type: is 'image'"));
  const Json uses = {use("a", "f", Json::object()), use("a", "f", Json::object())};
  EXPECT_THAT(side.refusal({user("Look"), said("assistant", uses), user("So?")}), HasSubstr("that of another call"));
  EXPECT_THAT(
      side.refusal({user("Look"), said("assistant", Json::array({{{"type", "server_tool_use"}}})), user("So?")}),
      HasSubstr("messages[1].content[0].type: is 'server_tool_use'"));
  EXPECT_THAT(side.refusal(Json::array({said("user", "")})), HasSubstr("is empty"));
  EXPECT_THAT(side.refusal(Json::array({said("tool", "x")})),
              HasSubstr("messages[0].role: must be one of user, assistant and system"));
  EXPECT_THAT(side.refusal(kHello, {{"max_tokens", nullptr}}), HasSubstr("max_tokens: is missing"));
  EXPECT_THAT(side.refusal(kHello, {{"tools", Json::array({{{"type", "bash_20250124"}, {"name", "bash"}}})}}),
              HasSubstr("tools[0].type: is 'bash_20250124', a tool whose schema"));
  EXPECT_THAT(
      side.refusal(kHello, {{"tools", Json::array({{{"type", "web_search_20250305"}, {"name", "web_search"}}})}}),
      HasSubstr("a tool that a server runs"));
}

TEST(AnthropicInput, TellsOfToolsThatAreMentioned) {
  Side side("gqa");
  const Json later = {{"defer_loading", true}};
  const Json tools = {tool("alpha", later), tool("read"), tool("fetch", later), tool("write")};
  const auto tools_of = [&](const Json& messages, const Json& all) {
    const std::string prompt = side.prompt(messages, {{"tools", all}});
    std::string names;
    for (size_t at = 0; (at = prompt.find("\"description\": \"does ", at)) != std::string::npos;) {
      at += 21;
      names += (names.empty() ? "" : " ") + prompt.substr(at, prompt.find('"', at) - at);
    }
    return names;
  };
  EXPECT_EQ(tools_of(kHello, tools), "read write");
  const Json reference = {{"type", "tool_reference"}, {"tool_name", "fetch"}};
  const Json found = {user("Look"), said("assistant", Json::array({use("a", "search", Json::object())})),
                      said("user", Json::array({result("a", Json::array({reference}))}))};
  EXPECT_EQ(tools_of(found, tools), "read write fetch") << "what was told before stays where it was";
  const auto change = [&](const char* type, const char* name) {
    return said("system", Json::array({{{"type", type}, {"tool", {{"type", "tool_reference"}, {"name", name}}}}}));
  };
  EXPECT_EQ(tools_of({user("Look"), change("tool_addition", "alpha"), change("tool_removal", "read")}, tools),
            "write alpha");
  Json searched = tools;
  searched.push_back({{"type", "tool_search_tool_bm25_20251119"}, {"name", "tool_search_tool_bm25"}});
  EXPECT_EQ(tools_of(kHello, searched), "read write alpha fetch") << "nobody searches here, so all are shown";
  EXPECT_EQ(side.prompt(kHello, {{"tools", tools}, {"tool_choice", {{"type", "none"}}}}), side.prompt(kHello));
  EXPECT_EQ(side.prompt(kHello, {{"tools", Json::array()}}), side.prompt(kHello));
  EXPECT_EQ(side.prompt(kHello, {{"tools", {tool("read"), tool("write")}}}),
            side.chat_prompt(kHello, {{"tools", {chat_tool("read"), chat_tool("write")}}}));
  EXPECT_THAT(
      side.prompt(kHello, {{"tools", Json::array({tool("f", {{"input_examples", Json::array({{{"a", 1}}})}})})}}),
      HasSubstr(R"(does f\nExample of its input: {\"a\":1})"));
}

TEST(AnthropicInput, BringsThinkingBackAsItWas) {
  const std::string says =
      "<think>\nHm, so.\n</think>\n\n<tool_call>\n{\"name\": \"read\", \"arguments\": {\"path\": "
      "\"a\"}}\n</tool_call>";
  for (const char* display : {"summarized", "omitted"}) {
    Side side("gqa", says);
    const Json more = {{"tools", Json::array({tool("read")})},
                       {"thinking", {{"type", "adaptive"}, {"display", display}}}};
    const RecordedExchange exchange = side.ask(kHello, more);
    const Json content = exchange.json()["content"];
    ASSERT_EQ(content.size(), 2u) << exchange.body;
    EXPECT_EQ(content[0]["thinking"], display == std::string("omitted") ? "" : "Hm, so.");
    EXPECT_FALSE(content[0]["signature"].get<std::string>().empty());
    const std::string first = side.decoded();
    const std::string second = side.prompt(
        {user("Hello"), said("assistant", content), said("user", Json::array({result(content[1]["id"], "A")}))},
        more);
    EXPECT_TRUE(second.starts_with(first + says)) << second << " does not go on from " << first;
  }
  Side side("gqa");
  const auto reasoning = [&](const Json& block) {
    return side.prompt({user("Hello"), said("assistant", {block, use("a", "f", Json::object())}),
                        said("user", Json::array({result("a", "A")}))});
  };
  EXPECT_THAT(reasoning(thought("", dialect::sealed("Mine."))), HasSubstr("<think>\nMine.\n</think>"));
  EXPECT_THAT(reasoning(thought("", "another server's")), Not(HasSubstr("<think>\nMine")));
  EXPECT_THAT(reasoning(thought("Said.", dialect::sealed("Mine."))), HasSubstr("<think>\nSaid.\n</think>"));
  EXPECT_EQ(reasoning({{"type", "redacted_thinking"}, {"data", "x"}}), reasoning({{"type", "fallback"}}));
}

TEST(AnthropicInput, SwitchesThinking) {
  Side side("gqa");
  EXPECT_EQ(side.prompt(kHello, {{"thinking", {{"type", "disabled"}}}}),
            side.chat_prompt(kHello, {{"enable_thinking", false}}));
  EXPECT_NE(side.prompt(kHello, {{"thinking", {{"type", "disabled"}}}}), side.prompt(kHello));
  EXPECT_EQ(side.prompt(kHello, {{"thinking", {{"type", "adaptive"}}}}), side.prompt(kHello));
  EXPECT_EQ(side.prompt(kHello, {{"thinking", {{"type", "disabled"}}}, {"output_config", {{"effort", "high"}}}}),
            side.chat_prompt(kHello, {{"enable_thinking", false}}));
}

TEST(AnthropicInput, IsCountedAsItIsAsked) {
  for (const char* name : {"gqa", "mla"}) {
    Side side(name);
    const Json calls = {thought("Hm."), use("toolu_1", "read", {{"path", "a"}})};
    const std::vector<Json> bodies = {
        {{"messages", kHello}},
        {{"messages", kHello}, {"system", "Be brief."}, {"tools", Json::array({tool("read")})}},
        {{"messages", {user("Look"), said("assistant", calls), said("user", Json::array({result("toolu_1", "A")}))}},
         {"tools", Json::array({tool("read")})}},
        {{"messages", {user("Hello"), said("assistant", "So")}}},
        {{"messages", kHello}, {"thinking", {{"type", "disabled"}}}}};
    for (Json body : bodies) {
      const RecordedExchange counted = side.asking.count(body);
      ASSERT_EQ(counted.status, 200) << counted.body;
      body["max_tokens"] = 1;
      EXPECT_EQ(side.asking.message(body).status, 200);
      EXPECT_EQ(counted.json(), Json({{"input_tokens", side.generator.asked.back().prompt.size()}})) << name << body;
    }
    std::string longer;
    for (int i = 0; i < 5000; ++i) longer += "word ";
    EXPECT_GT(side.asking.count({{"messages", Json::array({user(longer)})}}).json()["input_tokens"], 4096)
        << "more than the context";
  }
}

// Recorded of agents (tools/goldens/agent_requests.py).
TEST(AnthropicInput, TakesWhatAgentsSend) {
  Side side("gqa");
  for (const char* file : {"claude_code", "opencode"}) {
    const auto path =
        std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/agents" / (std::string(file) + ".json");
    const Json golden = Json::parse(read_text_file(path));
    int tried = 0;
    for (const Json& request : golden["requests"]) {
      Json body = request["body"];
      const std::string where = request["path"];
      if (!where.starts_with("/v1/messages")) continue;
      ++tried;
      body["model"] = "org/model";
      const bool formed = body.contains("output_config") && body["output_config"].contains("format");
      const RecordedExchange exchange =
          where.find("count_tokens") != where.npos ? side.asking.count(body) : side.asking.message(body);
      EXPECT_EQ(exchange.status, formed ? 400 : 200) << request["name"] << exchange.body;
      if (formed) { EXPECT_THAT(exchange.body, HasSubstr("output_config.format")); }
    }
    EXPECT_GE(tried, 3) << file;
  }
}

}  // namespace
}  // namespace cachalot::testing
