// What four agents ask is answered, in the dialect in which they ask, and each prompt of a session begins as the one
// before it. The requests are recorded ones (tools/goldens/agent_requests.py).
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "server/agent_requests.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::HasSubstr;

constexpr double kLeastShared = 0.9;  // of a prompt, that the one before it has, too

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }

// The server that the requests were recorded from, by name; its context has room for them.
ServedModel scripted_model() {
  ServedModel model = served("gqa").model;
  model.id = "scripted";
  model.other_names = {"claude-sonnet-4-5", "gpt-5.5"};
  model.context = 1 << 17;
  return model;
}

// A tool that the request offers, as it is called: of codex a function with text, of the others whatever comes first.
std::string call_of(const Json& body) {
  for (const Json& tool : body.value("tools", Json::array())) {
    const Json& function = tool.contains("function") ? tool["function"] : tool;
    if (const std::string type = tool.value("type", "function"); type != "function") continue;
    return "\n<tool_call>\n" + Json({{"name", function["name"]}, {"arguments", {{"a", "b"}}}}).dump() +
           "\n</tool_call>";
  }
  return "";
}

struct Answered {
  RecordedExchange exchange;
  std::vector<int32_t> prompt;  // empty where nothing was asked of the model
};

Answered answer(const AgentRequest& request) {
  const ServedModel model = scripted_model();
  ScriptedGenerator generator(saying(qwen(), {"<think>\nHm.\n</think>\n\nLet me look." + call_of(request.body)}));
  Asking asking{model, generator};
  const auto by_path = [&]() -> RecordedExchange {
    if (request.path == "/v1/chat/completions") return asking.chat(request.body);
    if (request.path == "/v1/responses") return asking.respond(request.body);
    if (request.path == "/v1/messages") return asking.message(request.body);
    if (request.path == "/v1/messages/count_tokens") return asking.count(request.body);
    throw std::runtime_error("no handler of " + request.path);
  };
  RecordedExchange exchange = by_path();
  return {std::move(exchange), generator.asked.empty() ? std::vector<int32_t>() : generator.asked[0].prompt};
}

// The events of a stream whose dialect names each in a line of its own, too.
std::vector<Json> named_events(const std::string& body) {
  std::vector<Json> all;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, body.npos) << "the stream ends within an event";
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    if (event.starts_with(":")) continue;
    if (event == "data: [DONE]" && at == body.size()) break;  // behind the last one
    const size_t data = event.find("\ndata: ");
    EXPECT_NE(data, event.npos) << event;
    all.push_back(Json::parse(event.substr(data + 7)));
    EXPECT_EQ(event.substr(0, data), "event: " + all.back()["type"].get<std::string>());
  }
  return all;
}

void check_chat(RecordedExchange& exchange, bool calls) {
  std::string text, finish;
  bool called = false;
  for (const Json& chunk : exchange.events())
    for (const Json& choice : chunk["choices"]) {
      text += choice["delta"].value("content", "");
      called = called || choice["delta"].contains("tool_calls");
      if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    }
  EXPECT_THAT(text, HasSubstr("Let me look."));
  EXPECT_EQ(called, calls);
  EXPECT_EQ(finish, calls ? "tool_calls" : "stop");
}

void check_response(const std::string& body, bool calls) {
  const std::vector<Json> events = named_events(body);
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.front()["type"], "response.created");
  EXPECT_EQ(events.back()["type"], "response.completed");
  std::multiset<std::string> kinds;
  for (const Json& item : events.back()["response"]["output"]) kinds.insert(item["type"]);
  EXPECT_EQ(kinds.count("message"), 1u);
  EXPECT_EQ(kinds.count("function_call"), calls ? 1u : 0u);
}

void check_message(const std::string& body, bool calls) {
  const std::vector<Json> events = named_events(body);
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.front()["type"], "message_start");
  EXPECT_EQ(events.back()["type"], "message_stop");
  std::string text, stop;
  bool called = false;
  for (const Json& event : events) {
    if (event["type"] == "content_block_start") called = called || event["content_block"]["type"] == "tool_use";
    if (event["type"] == "content_block_delta") text += event["delta"].value("text", "");
    if (event["type"] == "message_delta") stop = event["delta"]["stop_reason"];
  }
  EXPECT_THAT(text, HasSubstr("Let me look."));
  EXPECT_EQ(called, calls);
  EXPECT_EQ(stop, calls ? "tool_use" : "end_turn");
}

// Answers of a given form are not there: those who want one are told so by the field's name.
bool wants_a_form(const Json& body) {
  for (const char* field : {"text", "output_config"})
    if (body.contains(field) && body[field].contains("format")) return true;
  return false;
}

TEST(Agents, AreAnswered) {
  int requests = 0;
  for (const AgentRequest& request : all_agent_requests()) {
    SCOPED_TRACE(request.agent + ", " + request.name);
    ++requests;
    Answered answered = answer(request);
    RecordedExchange& exchange = answered.exchange;
    if (wants_a_form(request.body)) {
      EXPECT_EQ(exchange.status, 400);
      EXPECT_THAT(exchange.body, HasSubstr("format"));
      continue;
    }
    ASSERT_EQ(exchange.status, 200) << exchange.body;
    const bool calls = !call_of(request.body).empty();
    if (request.path == "/v1/chat/completions")
      check_chat(exchange, calls);
    else if (request.path == "/v1/responses")
      check_response(exchange.body, calls);
    else if (request.path == "/v1/messages")
      check_message(exchange.body, calls);
    else
      EXPECT_GT(exchange.json()["input_tokens"], 0);
  }
  EXPECT_EQ(requests, 29);
}

// The share of the later prompt that the earlier one begins with, too.
double shared(const std::vector<int32_t>& earlier, const std::vector<int32_t>& later) {
  const auto end = std::ranges::mismatch(earlier, later).in2;
  return static_cast<double>(end - later.begin()) / static_cast<double>(later.size());
}

TEST(Agents, AskWithPromptsThatGoOn) {
  for (const auto& [agent, dialect] : {std::pair("claude_code", ""),
                                       {"codex", ""},
                                       {"qwen_code", ""},
                                       {"opencode", ""},
                                       {"opencode", "responses: "},
                                       {"opencode", "messages: "}}) {
    SCOPED_TRACE(std::string(agent) + " " + dialect);
    const auto prompt = [&](const std::string& name) { return answer(agent_request(agent, dialect + name)).prompt; };
    const auto results = prompt("results"), second_turn = prompt("second turn");
    EXPECT_GT(results.size(), 5000u);
    EXPECT_GE(shared(results, second_turn), kLeastShared);
    if (*dialect == '\0') EXPECT_GE(shared(prompt("first"), results), kLeastShared);
  }
}

// Claude Code's first block of the system changes with what is asked, and in some versions with every request.
TEST(Agents, ABillingLineIsNoPartOfThePrompt) {
  AgentRequest request = agent_request("claude_code", "first");
  const auto expected = answer(request).prompt;
  EXPECT_THAT(qwen().decode(expected), ::testing::Not(HasSubstr("billing")));
  std::string line = request.body["system"][0]["text"];
  ASSERT_TRUE(line.starts_with("x-anthropic-billing-header: cc_version=2.1.332.")) << line;
  for (const std::string other :
       {"x-anthropic-billing-header: cc_version=2.1.332.0c5; cc_entrypoint=cli;",
        "x-anthropic-billing-header: cc_version=2.1.37.fbe; cc_entrypoint=cli; cch=a1b2c;"}) {
    request.body["system"][0]["text"] = other;
    EXPECT_EQ(answer(request).prompt, expected) << other;
  }
  request.body["system"].erase(0);
  EXPECT_EQ(answer(request).prompt, expected);
  request.body["system"][0]["text"] = "Speak of x-anthropic-billing-header: and of nothing else.";
  EXPECT_NE(answer(request).prompt, expected);
}

}  // namespace
}  // namespace cachalot::testing
