// /v1/messages, from a request's body to all that its client is told. What is expected of shapes and of the order of
// events is what Anthropic's clients say.
#include <gmock/gmock.h>

#include <set>

#include "base/random.h"
#include "server/dialect/reasoning.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }

Json tool(const std::string& name) {
  return {{"name", name}, {"input_schema", {{"type", "object"}, {"properties", Json::object()}}}};
}
std::string call(const std::string& name, const Json& arguments) {
  return "<tool_call>\n" + Json({{"name", name}, {"arguments", arguments}}).dump() + "\n</tool_call>";
}

// A model's text side, which says one thing.
struct Model {
  ScriptedGenerator generator;
  Asking asking{served("gqa").model, generator};

  explicit Model(
      const std::string& says, ScriptedGenerator::StepSize size = [](int) { return 1; })
      : generator(saying(qwen(), {says}), std::move(size)) {}

  RecordedExchange ask(const Json& more = Json::object()) {
    Json body = {{"max_tokens", 1000}, {"messages", Json::array({user("Hello")})}, {"tools", {tool("f"), tool("g")}}};
    body.update(more);
    return asking.message(body);
  }
  Json message(const Json& more = Json::object()) {
    const RecordedExchange exchange = ask(more);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return exchange.json();
  }
};

// What a client puts together of a stream, whose events are to come in the order that the API has.
struct Streamed {
  Json message;
  Json error;
  std::vector<std::string> events;  // without repetitions of deltas
  Json start;                       // the message as it began
  int pings = 0;

  explicit Streamed(const RecordedExchange& exchange) {
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    EXPECT_EQ(exchange.content_type, "text/event-stream; charset=utf-8");
    for (size_t at = 0; at < exchange.body.size();) {
      const size_t end = exchange.body.find("\n\n", at);
      if (end == std::string::npos) throw std::runtime_error("the stream ends within an event");
      const std::string event = exchange.body.substr(at, end - at);
      at = end + 2;
      const size_t line = event.find("\ndata: ");
      if (!event.starts_with("event: ") || line == event.npos) throw std::runtime_error("no event: " + event);
      const Json data = Json::parse(event.substr(line + 7));
      EXPECT_EQ(data["type"], event.substr(7, line - 7));
      hear(data);
    }
  }

 private:
  void hear(const Json& event) {
    const auto name = event["type"].get<std::string>();
    if (name != "content_block_delta" || events.back() != name) events.push_back(name);
    ASSERT_TRUE(error.is_null()) << "behind an error: " << event;
    if (name == "ping") {
      ++pings;
    } else if (name == "error") {
      error = event["error"];
    } else if (name == "message_start") {
      ASSERT_TRUE(message.is_null());
      message = start = event["message"];
      EXPECT_EQ(message["content"], Json::array());
      EXPECT_TRUE(message["stop_reason"].is_null());
    } else {
      ASSERT_FALSE(message.is_null() || ended_) << event;
      if (name == "message_delta") {
        EXPECT_FALSE(open_);
        message.update(event["delta"]);
        message["usage"].update(event["usage"]);
      } else if (name == "message_stop") {
        ended_ = true;
      } else {
        hear_block(name, event);
      }
    }
  }

  void hear_block(const std::string& name, const Json& event) {
    Json& content = message["content"];
    if (name == "content_block_start") {
      ASSERT_FALSE(open_);
      EXPECT_EQ(event["index"], content.size());
      content.push_back(event["content_block"]);
      open_ = true;
      input_.clear();
      return;
    }
    ASSERT_TRUE(open_) << event;
    EXPECT_EQ(event["index"], content.size() - 1);
    if (name == "content_block_stop") {
      if (content.back()["type"] == "tool_use") content.back()["input"] = Json::parse(input_);
      open_ = false;
      return;
    }
    const Json& delta = event["delta"];
    const auto type = delta["type"].get<std::string>();
    const auto append = [&](const char* of, const char* member) {
      ASSERT_EQ(content.back()["type"], of);
      content.back()[member].get_ref<std::string&>() += delta[member].get<std::string>();
    };
    if (type == "text_delta") return append("text", "text");
    if (type == "thinking_delta") return append("thinking", "thinking");
    if (type == "signature_delta") return append("thinking", "signature");
    ASSERT_EQ(type, "input_json_delta");
    ASSERT_EQ(content.back()["type"], "tool_use");
    input_ += delta["partial_json"].get<std::string>();
  }

  bool open_ = false, ended_ = false;
  std::string input_;
};

// Ids are of one answer alone.
Json without_ids(Json message) {
  EXPECT_THAT(message["id"].get<std::string>(), StartsWith("msg_"));
  message.erase("id");
  for (Json& block : message["content"])
    if (block["type"] == "tool_use") {
      EXPECT_THAT(block["id"].get<std::string>(), StartsWith("toolu_"));
      block.erase("id");
    }
  return message;
}

TEST(Anthropic, AnswersWithOneMessage) {
  Model model("<think>\nHm.\n</think>\n\nGrüß Gott 你好!");
  model.generator.cached_tokens = 4;
  const Json message = model.message({{"tools", nullptr}});
  const Prompt prompt =
      served("gqa").model.prompts.chat({{"messages", Json::array({user("Hello")})}, {"add_generation_prompt", true}});
  const auto all = qwen().encode("<think>\nHm.\n</think>\n\nGrüß Gott 你好!").size();
  const auto thinking = qwen().encode("<think>\nHm.\n</think>").size() + 1;  // and line breaks behind it
  EXPECT_EQ(without_ids(message),
            Json({{"type", "message"},
                  {"role", "assistant"},
                  {"model", "org/model"},
                  {"content",
                   {{{"type", "thinking"}, {"thinking", "Hm."}, {"signature", dialect::sealed("")}},
                    {{"type", "text"}, {"text", "Grüß Gott 你好!"}}}},
                  {"stop_reason", "end_turn"},
                  {"stop_sequence", nullptr},
                  {"usage",
                   {{"input_tokens", prompt.tokens.size() - 4},
                    {"cache_creation_input_tokens", 0},
                    {"cache_read_input_tokens", 4},
                    {"output_tokens", all},
                    {"output_tokens_details", {{"thinking_tokens", thinking}}}}}}));
  const Request& asked = model.generator.asked.at(0);
  EXPECT_EQ(asked.prompt, prompt.tokens);
  EXPECT_EQ(asked.max_tokens, 1000);
  EXPECT_EQ(asked.end_tokens, served("gqa").defaults.end_tokens);
  EXPECT_EQ(asked.caller, "somebody");
  EXPECT_EQ(asked.salt, "salt");
  EXPECT_EQ(model.asking.notes.cached_tokens, 4);
  EXPECT_EQ(model.asking.notes.finish, "stop");
}

TEST(Anthropic, StreamsBlocksInTheModelsOrder) {
  Model model("<think>\nHm, so.\n</think>\n\nLet me look.\n" + call("f", {{"a", 1}}) + "\n" +
              call("g", Json::object()) + "\nThat was it.");
  const Streamed streamed(model.ask({{"stream", true}}));
  EXPECT_THAT(streamed.events,
              ElementsAre("message_start", "content_block_start", "content_block_delta", "content_block_stop",
                          "content_block_start", "content_block_delta", "content_block_stop", "content_block_start",
                          "content_block_delta", "content_block_stop", "content_block_start", "content_block_delta",
                          "content_block_stop", "content_block_start", "content_block_delta", "content_block_stop",
                          "message_delta", "message_stop"));
  const Json content = without_ids(streamed.message)["content"];
  EXPECT_EQ(content, Json({{{"type", "thinking"}, {"thinking", "Hm, so."}, {"signature", dialect::sealed("")}},
                           {{"type", "text"}, {"text", "Let me look."}},
                           {{"type", "tool_use"}, {"name", "f"}, {"input", {{"a", 1}}}},
                           {{"type", "tool_use"}, {"name", "g"}, {"input", Json::object()}},
                           {{"type", "text"}, {"text", "That was it."}}}));
  EXPECT_EQ(streamed.message["stop_reason"], "tool_use");
  EXPECT_NE(streamed.message["content"][2]["id"], streamed.message["content"][3]["id"]);
}

TEST(Anthropic, StreamsWhatItAnswersAtOnce) {
  const std::vector<std::string> answers = {
      "Hi",
      "",
      "<think>\nHm.\n</think>\n\n",
      "<think>\nHm.\n</think>\n\n" + call("f", {{"a", "Grüß 🐳"}}),
      "<think>\nHm. " + call("f", Json::object()) + " So.\n</think>\n\nYes" + call("g", {{"a", {1, 2}}}) + "No",
      "Is <tool_call> a tag? " + call("f", Json::object()) + "<tool_call>{\"name\": \"f\", \"argu"};
  Random random(7);
  for (const std::string& answer : answers)
    for (const char* display : {"summarized", "omitted"})
      for (int round = 0; round < 6; ++round) {
        std::vector<int> sizes;
        for (int i = 0; i < 64; ++i) sizes.push_back(1 + static_cast<int>(random.next() % 5));
        Model model(answer, [&](int step) { return sizes[static_cast<size_t>(step) % sizes.size()]; });
        Json more = {{"thinking", {{"type", "adaptive"}, {"display", display}}}};
        if (round > 2) more["max_tokens"] = 1 + static_cast<int>(random.next() % 20);
        if (round == 5) more["stop_sequences"] = {"e", "m"};
        const Json whole = model.message(more);
        more["stream"] = true;
        const Streamed streamed(model.ask(more));
        EXPECT_EQ(without_ids(streamed.message), without_ids(whole)) << answer << more;
      }
}

TEST(Anthropic, EndsForAReason) {
  const auto ends = [](const std::string& says, const Json& more) {
    Model model(says);
    const Json message = model.message(more);
    return std::vector<Json>{message["stop_reason"], message["stop_sequence"], message["content"]};
  };
  const Json hi = Json::array({{{"type", "text"}, {"text", "Hi"}}});
  EXPECT_THAT(ends("Hi", Json::object()), ElementsAre("end_turn", nullptr, hi));
  EXPECT_THAT(ends("Hi there", {{"max_tokens", 1}}), ElementsAre("max_tokens", nullptr, hi));
  EXPECT_THAT(ends("Hi there", {{"stop_sequences", {"you", " there"}}}), ElementsAre("stop_sequence", " there", hi));
  EXPECT_THAT(ends("", Json::object()), ElementsAre("end_turn", nullptr, Json::array()));

  const auto blocks = [&](const std::string& says, const Json& more) {
    std::vector<std::string> types;
    const auto ending = ends(says, more);
    for (const Json& block : ending[2]) types.push_back(block["type"]);
    return types;
  };
  const std::string reasoned = "<think>\nHm, so it is.\n</think>\n\nYes";
  EXPECT_THAT(blocks(reasoned, {{"max_tokens", 4}}), ElementsAre("thinking"));
  EXPECT_THAT(ends(reasoned, {{"max_tokens", 4}})[0], "max_tokens");
  EXPECT_THAT(ends(reasoned, {{"stop_sequences", Json::array({"so"})}})[1], "so") << "also within thinking";
  const std::string calls = call("f", Json::object()) + "\n" + call("g", Json::object());
  EXPECT_THAT(blocks(calls, {{"max_tokens", qwen().encode(calls).size() - 5}}), ElementsAre("tool_use", "text"))
      << "half a call is text";
  EXPECT_THAT(blocks(calls, Json::object()), ElementsAre("tool_use", "tool_use"));
  EXPECT_THAT(ends(calls, Json::object())[0], "tool_use");
  const Json one = {{"tool_choice", {{"type", "auto"}, {"disable_parallel_tool_use", true}}}};
  EXPECT_THAT(blocks(calls, one), ElementsAre("tool_use"));
  EXPECT_THAT(ends(calls, one)[0], "tool_use");
}

// The generator ends when its script does, as an engine at the end of the context.
TEST(Anthropic, SaysWhenTheContextIsFull) {
  ScriptedGenerator generator(
      [](const Request&) { return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("Hi there")}}; });
  Asking asking{served("gqa").model, generator};
  const Json body = {{"max_tokens", 1000}, {"messages", Json::array({user("Hello")})}};
  EXPECT_EQ(asking.message(body).json()["stop_reason"], "model_context_window_exceeded");
}

TEST(Anthropic, PingsWhileNothingCanBeSaid) {
  Model model("Hi");
  model.generator.silent_steps = 3;
  const Streamed streamed(model.ask({{"stream", true}}));
  EXPECT_EQ(streamed.events.at(0), "message_start");
  EXPECT_GE(streamed.pings, 2);
  EXPECT_EQ(streamed.message["content"][0]["text"], "Hi");
}

TEST(Anthropic, TellsOfTheCacheFromTheBeginning) {
  Model model("Hi");
  model.generator.cached_tokens = 5;
  const Streamed streamed(model.ask({{"stream", true}}));
  const Json& begins = streamed.start["usage"];
  EXPECT_EQ(begins["cache_read_input_tokens"], 5);
  EXPECT_EQ(begins["input_tokens"].get<size_t>(), model.generator.asked[0].prompt.size() - 5);
  EXPECT_EQ(streamed.message["usage"]["cache_read_input_tokens"], 5);
}

TEST(Anthropic, FailsInItsOwnShape) {
  const auto failing = [](const ScriptedAnswer& answer, const Json& more) {
    ScriptedGenerator generator([&](const Request&) { return std::vector<ScriptedAnswer>{answer}; });
    Asking asking{served("gqa").model, generator};
    Json body = {{"max_tokens", 1000}, {"messages", Json::array({user("Hello")})}};
    body.update(more);
    return asking.message(body);
  };
  const ScriptedAnswer broken = {.tokens = qwen().encode("so far"), .error = "it broke"};
  const RecordedExchange whole = failing(broken, Json::object());
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.json(),
            Json({{"type", "error"},
                  {"error",
                   {{"type", "api_error"}, {"message", "it broke"}, {"details", {{"error_code", "engine_error"}}}}},
                  {"request_id", nullptr}}));
  const Streamed streamed(failing(broken, {{"stream", true}}));
  EXPECT_EQ(streamed.message["content"][0]["text"], "so far");
  EXPECT_EQ(streamed.error,
            Json({{"type", "api_error"}, {"message", "it broke"}, {"details", {{"error_code", "engine_error"}}}}));
  const Streamed ending(
      failing({.tokens = qwen().encode("so far"), .error = {}, .cancelled = true}, {{"stream", true}}));
  EXPECT_EQ(ending.error["type"], "overloaded_error");

  Model model("Hi");
  EXPECT_EQ(model.ask({{"model", "another"}}).status, 404);
  EXPECT_EQ(model.ask({{"model", "another"}}).json()["error"]["type"], "not_found_error");
  EXPECT_EQ(model.ask({{"thread", {{"type", "create"}}}}).json()["error"]["details"]["error_code"],
            "thread_unsupported_request")
      << "official clients go on without";
  model.generator.room = 0;
  const RecordedExchange busy = model.ask();
  EXPECT_EQ(busy.status, 429);
  EXPECT_EQ(busy.json()["error"]["type"], "rate_limit_error");
  std::string longer;
  for (int i = 0; i < 5000; ++i) longer += "word ";
  const RecordedExchange too_long = model.ask({{"messages", Json::array({user(longer)})}});
  EXPECT_EQ(too_long.status, 400);
  EXPECT_THAT(too_long.body, HasSubstr("maximum context length"));
}

TEST(Anthropic, HasATypeForEachStatus) {
  const std::vector<std::pair<int, std::string>> types = {
      {400, "invalid_request_error"}, {401, "authentication_error"},  {403, "permission_error"},
      {404, "not_found_error"},       {405, "invalid_request_error"}, {413, "request_too_large"},
      {415, "invalid_request_error"}, {429, "rate_limit_error"},      {500, "api_error"},
      {529, "overloaded_error"}};
  for (const auto& [status, type] : types) {
    const http::Response response = anthropic::error_response(
        {.status = status, .message = "why", .code = {}, .param = {}, .retry_after = {}, .request = "req_1"});
    EXPECT_EQ(response.status, status);
    EXPECT_EQ(Json::parse(response.body),
              Json({{"type", "error"}, {"error", {{"type", type}, {"message", "why"}}}, {"request_id", "req_1"}}));
  }
  EXPECT_EQ(anthropic::error_response({503, "why"}).status, 529) << "as clients of this API know it";
}

TEST(Anthropic, StopsWhenItsClientHasGone) {
  Model model("one two three four five six seven eight");
  Json body = {{"max_tokens", 1000}, {"messages", Json::array({user("Hello")})}, {"stream", true}};
  RecordedExchange exchange = model.asking.exchange(body);
  exchange.gone_after = 3;
  EXPECT_THROW(
      anthropic::messages(exchange, model.asking.model, model.generator, model.asking.caller, model.asking.notes),
      http::ClientGone);
  EXPECT_EQ(model.generator.running(), 0u);
  EXPECT_EQ(model.generator.cancelled, 1);
  EXPECT_EQ(model.asking.notes.finish, "gone");
}

}  // namespace
}  // namespace cachalot::testing
