// What /v1/responses makes of items and tools: the prompt that chat completions make of the same conversation, and
// the template's own.
#include <gmock/gmock.h>

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

  std::vector<int32_t> tokens(const RecordedExchange& exchange) {
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return generator.asked.empty() ? std::vector<int32_t>() : generator.asked.back().prompt;
  }
  std::string prompt(const Json& input, const Json& more = Json::object()) {
    Json body = {{"input", input}};
    body.update(more);
    return side.text.tokenizer.decode(tokens(asking.respond(body)));
  }
  std::string chat_prompt(const Json& messages, const Json& more = Json::object()) {
    Json body = {{"messages", messages}};
    body.update(more);
    return side.text.tokenizer.decode(tokens(asking.chat(body)));
  }
  Json respond(const Json& input, const Json& more = Json::object()) {
    Json body = {{"input", input}};
    body.update(more);
    const RecordedExchange exchange = asking.respond(body);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return exchange.json();
  }
  Json error(const Json& input, const Json& more = Json::object()) {
    Json body = {{"input", input}};
    body.update(more);
    const RecordedExchange exchange = asking.respond(body);
    EXPECT_EQ(exchange.status, 400) << exchange.body;
    return exchange.json()["error"];
  }
};

Json said(const std::string& role, const Json& content) { return {{"role", role}, {"content", content}}; }
Json part(const std::string& type, const std::string& text) { return {{"type", type}, {"text", text}}; }
Json thought(const std::string& text) {
  return {{"type", "reasoning"},
          {"id", "rs_1"},
          {"summary", Json::array()},
          {"content", Json::array({part("reasoning_text", text)})}};
}
Json call(const std::string& id, const std::string& name, const Json& arguments) {
  return {{"type", "function_call"},
          {"id", "fc_" + id},
          {"call_id", id},
          {"name", name},
          {"arguments", arguments.is_string() ? arguments : Json(arguments.dump())}};
}
Json result(const std::string& id, const Json& output) {
  return {{"type", "function_call_output"}, {"call_id", id}, {"output", output}};
}
Json chat_call(const std::string& id, const std::string& name, const Json& arguments) {
  return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments.dump()}}}};
}
Json function(const std::string& name) {
  return {{"type", "function"}, {"name", name}, {"parameters", {{"type", "object"}, {"properties", Json::object()}}}};
}
// The same for chat completions.
Json chat_function(const Json& tool) {
  Json function = tool;
  function.erase("type");
  return {{"type", "function"}, {"function", function}};
}

TEST(ResponsesInput, IsTheConversationThatChatWouldHave) {
  for (const char* name : {"gqa", "mla"}) {
    SCOPED_TRACE(name);
    Side side(name);
    const Json hello = Json::array({user("Hello")});
    const std::string plain = side.chat_prompt(hello);
    EXPECT_EQ(side.prompt("Hello"), plain);
    EXPECT_EQ(side.prompt(hello), plain);
    EXPECT_EQ(side.prompt(Json::array({said("user", Json::array({part("input_text", "Hello")}))})), plain);
    Json typed = said("user", "Hello");
    typed.update({{"type", "message"}, {"id", nullptr}, {"status", nullptr}});
    EXPECT_EQ(side.prompt(Json::array({typed})), plain);

    const Json talk =
        Json::array({said("developer", "Be kind."), user("Hello"), said("assistant", "Hi"), user("So?")});
    EXPECT_EQ(side.prompt(talk), side.chat_prompt(talk));
    Json later = talk;
    later.erase(later.begin());
    EXPECT_EQ(side.prompt(later, {{"instructions", "Be kind."}}), side.chat_prompt(talk));
    EXPECT_EQ(
        side.prompt(Json::array({said("user", Json::array({part("input_text", "a"), part("input_text", "b")}))})),
        side.chat_prompt(Json::array({user("a\nb")})));
    const Json answer =
        said("assistant", Json::array({part("output_text", "a"), {{"type", "refusal"}, {"refusal", "b"}}}));
    EXPECT_EQ(side.prompt(Json::array({user("x"), answer, user("y")})),
              side.chat_prompt(Json::array({user("x"), said("assistant", "ab"), user("y")})));
    const Json twice = Json::array({said("assistant", "one"), said("assistant", "two"), user("x")});
    EXPECT_EQ(side.prompt(twice), side.chat_prompt(twice)) << "two answers, not one";
  }
}

// Qwen3's template keeps the reasoning of a turn as long as its calls go on: the model sees what it wrote.
TEST(ResponsesInput, PutsTogetherWhatTheModelWroteInOneTurn) {
  Side side("gqa");
  const Json tools = Json::array({function("weather"), function("time")});
  const Json chat_tools = Json::array({chat_function(tools[0]), chat_function(tools[1])});
  const Json arguments = {{"city", "Köln"}};
  const Json message = said("assistant", Json::array({part("output_text", "Let me look.")}));
  const Json results = Json::array({said("tool", "sunny"), said("tool", "noon")});
  const auto chat = [&](Json assistant) {
    assistant["tool_calls"] =
        Json::array({chat_call("c1", "weather", arguments), chat_call("c2", "time", Json::object())});
    Json messages = Json::array({user("Hello"), assistant});
    for (const Json& one : results) messages.push_back(one);
    return side.chat_prompt(messages, {{"tools", chat_tools}});
  };
  Json with_all = said("assistant", "Let me look.");
  with_all["reasoning_content"] = "Hm.";
  const auto responses = [&](std::vector<Json> items) {
    items.insert(items.begin(), user("Hello"));
    items.push_back(result("c1", "sunny"));
    items.push_back(result("c2", Json::array({part("input_text", "noon")})));
    return side.prompt(items, {{"tools", tools}});
  };
  const Json c1 = call("c1", "weather", arguments), c2 = call("c2", "time", Json::object());
  EXPECT_EQ(responses({thought("Hm."), message, c1, c2}), chat(with_all));
  EXPECT_THAT(
      side.prompt(Json::array({user("Hello"), thought("Hm."), c1, result("c1", "sunny")}), {{"tools", tools}}),
      HasSubstr("<think>\nHm.\n</think>\n\n<tool_call>"));
  Json between = with_all;
  between["content"] = "A\nB";
  EXPECT_EQ(responses({thought("Hm."), said("assistant", "A"), c1, said("assistant", "B"), c2}), chat(between));
  Json thinks_on = said("assistant", "B");
  thinks_on["reasoning_content"] = "Hm.\nSo.";
  EXPECT_EQ(responses({thought("Hm."), c1, thought("So."), said("assistant", "B"), c2}), chat(thinks_on));
  EXPECT_EQ(responses({thought("Hm."), message, call("c1", "weather", arguments.dump()), c2}), chat(with_all));
}

// Whatever the model writes, what comes back is what it wrote: the cache has all of it.
TEST(ResponsesInput, ComesBackAsTheModelWroteIt) {
  const std::string wrote =
      "<think>\nHm 🐳.\n</think>\n\nLet me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": "
      "\"Köln\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"patch\", \"arguments\": {\"input\": "
      "\"a\\nb\"}}\n</tool_call>";
  for (const bool sealed : {false, true}) {
    Side side("gqa", wrote);
    Json more = {{"tools", Json::array({function("weather"), {{"type", "custom"}, {"name", "patch"}}})},
                 {"store", false}};
    if (sealed) more["include"] = Json::array({"reasoning.encrypted_content"});
    const Json response = side.respond("Hello", more);
    Json items = Json::array({user("Hello")});
    for (Json item : response["output"]) {
      if (item["type"] == "reasoning" && sealed) item.erase("content");
      items.push_back(item);
      EXPECT_TRUE(item["type"] != "message" || item["content"][0]["text"] == "Let me look.");
    }
    EXPECT_EQ(response["output"][3]["type"], "custom_tool_call");
    EXPECT_EQ(response["output"][3]["input"], "a\nb");
    items.push_back(result(response["output"][2]["call_id"], "sunny"));
    items.push_back(
        {{"type", "custom_tool_call_output"}, {"call_id", response["output"][3]["call_id"]}, {"output", "ok"}});
    EXPECT_THAT(side.prompt(items, more), HasSubstr("<|im_start|>assistant\n" + wrote + "<|im_end|>"));
  }
}

TEST(ResponsesInput, TakesReasoningOfOtherModelsAsFarAsItCanBeRead) {
  Side side("gqa");
  const auto with = [&](Json reasoning) {
    reasoning["type"] = "reasoning";
    return side.prompt(Json::array({user("Hello"), reasoning, call("c1", "f", Json::object()), result("c1", "x")}));
  };
  EXPECT_THAT(with({{"summary", Json::array({part("summary_text", "Hm."), part("summary_text", "So.")})}}),
              HasSubstr("<think>\nHm.\n\nSo.\n</think>"));
  const std::string none = with({{"summary", Json::array()}, {"encrypted_content", "gAAAAABo"}});
  EXPECT_THAT(none, Not(HasSubstr("gAAAA")));
  EXPECT_EQ(none, with({{"summary", Json::array()}, {"content", nullptr}}));
  EXPECT_EQ(none, side.prompt(Json::array({user("Hello"), call("c1", "f", Json::object()), result("c1", "x")})));
  EXPECT_THAT(with({{"encrypted_content", dialect::sealed("Mine.")}}), HasSubstr("<think>\nMine.\n</think>"));
}

TEST(ResponsesInput, IsSealedInBase64) {
  using dialect::sealed, dialect::unsealed;
  EXPECT_EQ(sealed("Hm."), "Y2FjaGFsb3QtcmVhc29uaW5nLTE6SG0u");  // what `base64` makes of cachalot-reasoning-1:Hm.
  for (const char* text : {"", "a", "ab", "abc", "Grüß 🐳\n"}) EXPECT_EQ(unsealed(sealed(text)), text);
  for (const char* text : {"", "=", "====", "abc", "abcd", "gAAAAABo", "Hm, so.", "Y2FjaGFsb3Q="})
    EXPECT_EQ(unsealed(text), std::nullopt) << text;
}

TEST(ResponsesInput, IsRefusedByName) {
  Side side("gqa");
  const auto refused = [&](const Json& items, const std::string& param) {
    const Json error = side.error(items);
    EXPECT_EQ(error["param"], param) << error;
  };
  const auto one = [](const Json& item) { return Json::array({user("Hello"), item}); };
  refused(one(said("user", Json::array({{{"type", "input_image"}, {"image_url", "data:"}}}))),
          "input[1].content[0].type");
  refused(one(said("user", Json::array({{{"type", "input_file"}, {"file_id", "x"}}}))), "input[1].content[0].type");
  refused(one(said("user", 5)), "input[1].content");
  refused(one(said("tool", "x")), "input[1].role");
  refused(one({{"role", "user"}, {"content", "x"}, {"id", 5}}), "input[1].id");
  refused(one({{"type", "computer_call"}}), "input[1].type");
  refused(one({{"type", "compaction"}, {"encrypted_content", "x"}}), "input[1].type");
  refused(one({{"type", "function_call"}, {"name", "f"}, {"arguments", "{}"}}), "input[1].call_id");
  refused(one({{"type", "function_call"}, {"call_id", "c"}, {"arguments", "{}"}}), "input[1].name");
  refused(one({{"type", "function_call"}, {"call_id", "c"}, {"name", ""}, {"arguments", "{}"}}), "input[1].name");
  refused(one({{"type", "function_call_output"}, {"call_id", "c"}}), "input[1].output");
  refused(one(result("c", Json::array({{{"type", "input_image"}}}))), "input[1].output[0].type");
  refused(one({{"type", "item_reference"}, {"id", "msg_x"}}), "input[1].id");
  refused(one({{"id", "msg_x"}}), "input[1].id");
  refused(Json::array({thought("")}), "input");
  EXPECT_EQ(side.prompt(one({{"type", "web_search_call"}, {"id", "ws_1"}, {"status", "completed"}})),
            side.prompt("Hello"));
}

TEST(ResponsesTools, AreToldAsFunctions) {
  Side side("gqa");
  const Json custom = {{"type", "custom"},
                       {"name", "patch"},
                       {"description", "Patches."},
                       {"format", {{"type", "grammar"}, {"syntax", "lark"}, {"definition", "start: \"x\""}}}};
  const Json space = {{"type", "namespace"},
                      {"name", "agents"},
                      {"description", "Of agents."},
                      {"tools", Json::array({function("spawn"), function("time")})}};
  const Json tools = Json::array(
      {function("time"), custom, space, {{"type", "web_search"}}, {{"type", "mcp"}, {"server_label", "x"}}});
  Json spawn = function("spawn"), own_time = function("agents.time");
  spawn["description"] = "Of agents.";
  const Json patch = {
      {"name", "patch"},
      {"description", "Patches."},
      {"parameters",
       {{"type", "object"},
        {"properties",
         {{"input",
           {{"type", "string"}, {"description", "The whole input, a text of this lark grammar:\nstart: \"x\""}}}}},
        {"required", Json::array({"input"})},
        {"additionalProperties", false}}}};
  const auto ordered = [](const Json& tool) {  // as they are written: name, description, parameters
    Json function = {{"name", tool["name"]}};
    if (tool.contains("description")) function["description"] = tool["description"];
    function["parameters"] = tool["parameters"];
    return Json{{"type", "function"}, {"function", function}};
  };
  EXPECT_EQ(
      side.prompt("Hello", {{"tools", tools}}),
      side.chat_prompt(
          Json::array({user("Hello")}),
          {{"tools", Json::array({ordered(function("time")), ordered(patch), ordered(spawn), ordered(own_time)})}}));
  const Json told = side.respond("Hello", {{"tools", tools}})["tools"];
  ASSERT_EQ(told.size(), 3u) << "those passed over are not offered";
  EXPECT_EQ(told[0]["description"], nullptr);
  EXPECT_EQ(told[0]["strict"], nullptr);
  EXPECT_EQ(told[1], custom);
  EXPECT_EQ(told[2], space);
}

TEST(ResponsesTools, AreCalledByTheirOwnNames) {
  const auto calls = [](const std::string& name) {
    return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": {\"input\": 5}}\n</tool_call>";
  };
  const Json tools = Json::array(
      {function("time"),
       {{"type", "custom"}, {"name", "patch"}},
       {{"type", "namespace"}, {"name", "agents"}, {"tools", Json::array({function("spawn"), function("time")})}}});
  const auto called = [&](const std::string& name) {
    Side side("gqa", calls(name));
    const Json output = side.respond("Hello", {{"tools", tools}})["output"];
    EXPECT_EQ(output.size(), 1u);
    // And the call comes back under the name that the model has written.
    EXPECT_THAT(
        side.prompt(Json::array({user("Hello"), output[0], result(output[0]["call_id"], "x")}), {{"tools", tools}}),
        HasSubstr("{\"name\": \"" + name + "\""));
    return output[0];
  };
  EXPECT_FALSE(called("time").contains("namespace"));
  const Json spawn = called("spawn"), time = called("agents.time"), patch = called("patch"), other = called("other");
  EXPECT_EQ(spawn["name"], "spawn");
  EXPECT_EQ(spawn["namespace"], "agents");
  EXPECT_EQ(time["name"], "time");
  EXPECT_EQ(time["namespace"], "agents");
  EXPECT_EQ(patch["type"], "custom_tool_call");
  EXPECT_EQ(patch["input"], "{\"input\": 5}") << "no such arguments: what the model wrote";
  EXPECT_EQ(other["type"], "function_call") << "a tool that the model has made up";
}

}  // namespace
}  // namespace cachalot::testing
