// /v1/responses, from a request's body to all that its client is told. Expected prompts come from the templates
// themselves; what is expected of shapes and of the order of events is what OpenAI's clients and the Open Responses
// specification say.
#include <gmock/gmock.h>

#include <set>

#include "base/random.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }

Json function(const std::string& name, const Json& properties = Json::object()) {
  return {{"type", "function"}, {"name", name}, {"parameters", {{"type", "object"}, {"properties", properties}}}};
}

// A model's text side, which says one thing.
struct Model {
  ScriptedGenerator generator;
  Asking asking{served("gqa").model, generator};

  explicit Model(
      const std::string& says, ScriptedGenerator::StepSize size = [](int) { return 1; })
      : generator(saying(qwen(), {says}), std::move(size)) {}

  RecordedExchange ask(const Json& input, const Json& more = Json::object()) {
    Json body = {{"input", input}};
    body.update(more);
    return asking.respond(body);
  }
  Json respond(const Json& input, const Json& more = Json::object()) {
    const RecordedExchange exchange = ask(input, more);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return exchange.json();
  }
  std::string prompt() const { return qwen().decode(generator.asked.back().prompt); }
};

std::string prompt_of(const Json& variables) {
  Json all = variables;
  all["add_generation_prompt"] = true;
  return qwen().decode(served("gqa").model.prompts.chat(all).tokens);
}

struct Event {
  std::string name;
  Json data;
};

// The events of a stream; each is named as its type says, and they are numbered without a gap.
std::vector<Event> events(const RecordedExchange& exchange) {
  EXPECT_EQ(exchange.status, 200) << exchange.body;
  std::vector<Event> all;
  bool done = false;
  for (size_t at = 0; at < exchange.body.size();) {
    const size_t end = exchange.body.find("\n\n", at);
    if (end == std::string::npos) throw std::runtime_error("the stream ends within an event");
    const std::string event = exchange.body.substr(at, end - at);
    at = end + 2;
    EXPECT_FALSE(done) << event;
    if (event.starts_with(":")) continue;
    if (event == "data: [DONE]") {
      done = true;
      continue;
    }
    const size_t line = event.find("\ndata: ");
    EXPECT_TRUE(event.starts_with("event: ")) << event;
    all.push_back({event.substr(7, line - 7), Json::parse(event.substr(line + 7))});
    EXPECT_EQ(Json(all.back().name), all.back().data["type"]);
    EXPECT_EQ(all.back().data["sequence_number"], all.size() - 1);
  }
  EXPECT_TRUE(done);
  return all;
}

std::vector<std::string> names(const std::vector<Event>& events) {
  std::vector<std::string> all;
  for (const Event& event : events)
    if (all.empty() || all.back() != event.name || !event.name.ends_with(".delta")) all.push_back(event.name);
  return all;
}

// What a client puts together of a stream's events, which are to come in the order that the specification has.
class Client {
 public:
  Json output = Json::array();

  void hear(const Event& event) {
    const std::string_view name = event.name;
    const Json& data = event.data;
    if (name == "response.output_item.added") {
      ASSERT_FALSE(open_) << "two items are open";
      EXPECT_EQ(data["output_index"], output.size());
      open_ = true;
      item_ = data["item"];
      EXPECT_EQ(item_["status"], "in_progress");
      return;
    }
    ASSERT_TRUE(open_) << name;
    EXPECT_EQ(data["output_index"], output.size());
    EXPECT_TRUE(name == "response.output_item.done" || data["item_id"] == item_["id"]);
    if (name == "response.content_part.added") {
      EXPECT_EQ(data["content_index"], item_["content"].size());
      EXPECT_EQ(data["part"]["text"], "");
      item_["content"].push_back(data["part"]);
    } else if (name == "response.content_part.done") {
      EXPECT_EQ(data["part"], item_["content"][0]);
    } else if (name == "response.output_item.done") {
      Json whole = data["item"];
      EXPECT_NE(whole["status"], "in_progress");
      item_["status"] = whole["status"];
      if (whole.contains("encrypted_content")) item_["encrypted_content"] = whole["encrypted_content"];
      EXPECT_EQ(item_, whole) << "not what the deltas have said";
      output.push_back(whole);
      open_ = false;
    } else {
      hear_text(name, data);
    }
  }

 private:
  void hear_text(std::string_view name, const Json& data) {
    const bool part = name.starts_with("response.output_text") || name.starts_with("response.reasoning_text");
    const char* field = part ? "text" : name.find("arguments") != name.npos ? "arguments" : "input";
    Json& said = part ? item_["content"][0] : item_;
    if (name.ends_with(".delta")) {
      said[field].get_ref<std::string&>() += data["delta"].get<std::string>();
      if (said.contains("logprobs"))
        for (const Json& entry : data["logprobs"]) said["logprobs"].push_back(entry);
    } else {
      EXPECT_TRUE(name.ends_with(".done")) << name;
      EXPECT_EQ(data[field], said[field]);
      EXPECT_TRUE(!said.contains("logprobs") || data["logprobs"] == said["logprobs"]);
    }
  }

  bool open_ = false;
  Json item_;
};

// Ids and times differ from answer to answer.
Json without_ids(Json output) {
  for (Json& item : output) {
    item.erase("id");
    item.erase("call_id");
  }
  return output;
}

// The last response of a stream, whose events are as they must be.
Json streamed(const RecordedExchange& exchange) {
  const auto all = events(exchange);
  EXPECT_GE(all.size(), 3u);
  EXPECT_EQ(all[0].name, "response.created");
  EXPECT_EQ(all[1].name, "response.in_progress");
  EXPECT_EQ(all[0].data["response"]["status"], "in_progress");
  EXPECT_EQ(all[0].data["response"]["output"], Json::array());
  Client client;
  for (size_t i = 2; i + 1 < all.size(); ++i) client.hear(all[i]);
  const Json response = all.back().data["response"];
  EXPECT_EQ(all.back().name, "response." + response["status"].get<std::string>());
  EXPECT_EQ(client.output, response["output"]);
  EXPECT_EQ(all[0].data["response"]["id"], response["id"]);
  return response;
}

TEST(Responses, HaveEveryFieldThatClientsLookFor) {
  Model model("<think>\nHm.\n</think>\n\nGrüß Gott 你好!");
  model.generator.cached_tokens = 4;
  const Json said = model.respond("Hello", {{"instructions", "Be brief."},
                                            {"temperature", 0.5},
                                            {"max_output_tokens", 100},
                                            {"metadata", {{"a", "b"}}},
                                            {"reasoning", {{"effort", "high"}, {"summary", "auto"}}},
                                            {"prompt_cache_key", "key"}});
  EXPECT_EQ(model.prompt(),
            prompt_of({{"messages", Json::array({{{"role", "system"}, {"content", "Be brief."}}, user("Hello")})},
                       {"enable_thinking", true}}));
  EXPECT_THAT(said["id"].get<std::string>(), StartsWith("resp_"));
  EXPECT_GT(said["created_at"], 1'700'000'000);
  EXPECT_GE(said["completed_at"], said["created_at"]);
  const Json expected = {{"object", "response"},
                         {"status", "completed"},
                         {"background", false},
                         {"error", nullptr},
                         {"incomplete_details", nullptr},
                         {"instructions", "Be brief."},
                         {"max_output_tokens", 100},
                         {"max_tool_calls", nullptr},
                         {"model", "org/model"},
                         {"parallel_tool_calls", true},
                         {"previous_response_id", nullptr},
                         {"prompt_cache_key", "key"},
                         {"reasoning", {{"effort", "high"}, {"summary", "auto"}}},
                         {"safety_identifier", nullptr},
                         {"service_tier", "default"},
                         {"store", true},
                         {"temperature", 0.5},
                         {"text", {{"format", {{"type", "text"}}}, {"verbosity", "medium"}}},
                         {"tool_choice", "auto"},
                         {"tools", Json::array()},
                         {"top_logprobs", 0},
                         {"top_p", 1.0},
                         {"presence_penalty", 0.0},
                         {"frequency_penalty", 0.0},
                         {"truncation", "disabled"},
                         {"user", nullptr},
                         {"metadata", {{"a", "b"}}}};
  for (const auto& [name, value] : expected.items()) EXPECT_EQ(said.at(name), value) << name;
  const Json& output = said["output"];
  ASSERT_EQ(output.size(), 2u);
  EXPECT_THAT(output[0]["id"].get<std::string>(), StartsWith("rs_"));
  EXPECT_THAT(output[1]["id"].get<std::string>(), StartsWith("msg_"));
  EXPECT_EQ(without_ids(output),
            Json::array({{{"type", "reasoning"},
                          {"status", "completed"},
                          {"summary", Json::array()},
                          {"content", Json::array({{{"type", "reasoning_text"}, {"text", "Hm."}}})}},
                         {{"type", "message"},
                          {"status", "completed"},
                          {"role", "assistant"},
                          {"content", Json::array({{{"type", "output_text"},
                                                    {"text", "Grüß Gott 你好!"},
                                                    {"annotations", Json::array()},
                                                    {"logprobs", Json::array()}}})}}}));
  const auto reasoning = static_cast<int>(qwen().encode("<think>\nHm.\n</think>").size()) + 1;  // and line breaks
  const auto all = static_cast<int>(qwen().encode("<think>\nHm.\n</think>\n\nGrüß Gott 你好!").size());
  const auto prompt = static_cast<int>(model.generator.asked.back().prompt.size());
  EXPECT_EQ(said["usage"], Json({{"input_tokens", prompt},
                                 {"input_tokens_details", {{"cached_tokens", 4}, {"cache_write_tokens", prompt - 4}}},
                                 {"output_tokens", all},
                                 {"output_tokens_details", {{"reasoning_tokens", reasoning}}},
                                 {"total_tokens", prompt + all}}));
  EXPECT_EQ(model.asking.notes.finish, "stop");
  EXPECT_EQ(model.asking.notes.completion_tokens, all);
}

constexpr const char* kCalls =
    "Let me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>\n"
    "<tool_call>\n{\"name\": \"time\", \"arguments\": {}}\n</tool_call>";
const Json kTools = Json::array({function("weather", {{"city", {{"type", "string"}}}}), function("time")});

TEST(Responses, StreamTheirItemsInTheOrderOfTheSpecification) {
  Model model(std::string("<think>\nHm.\n</think>\n\n") + kCalls);
  const auto all = events(model.ask("Hello", {{"stream", true}, {"tools", kTools}}));
  EXPECT_THAT(names(all), ElementsAre("response.created", "response.in_progress",                              //
                                      "response.output_item.added", "response.content_part.added",             //
                                      "response.reasoning_text.delta", "response.reasoning_text.done",         //
                                      "response.content_part.done", "response.output_item.done",               //
                                      "response.output_item.added", "response.content_part.added",             //
                                      "response.output_text.delta", "response.output_text.done",               //
                                      "response.content_part.done", "response.output_item.done",               //
                                      "response.output_item.added", "response.function_call_arguments.delta",  //
                                      "response.function_call_arguments.done", "response.output_item.done",    //
                                      "response.output_item.added", "response.function_call_arguments.delta",  //
                                      "response.function_call_arguments.done", "response.output_item.done",    //
                                      "response.completed"));
}

TEST(Responses, TellTheirBeginningBeforeThePromptIsRead) {
  Model model("Hi");
  RecordedExchange exchange(Json({{"input", "Hello"}, {"stream", true}}).dump());
  exchange.gone_after = 0;  // the first wait
  EXPECT_THROW(responses::create(exchange, served("gqa").model, model.generator, model.asking.responses,
                                 model.asking.caller, model.asking.notes),
               http::ClientGone);
  EXPECT_THAT(exchange.body, HasSubstr("event: response.in_progress\n"));
  EXPECT_EQ(model.generator.running(), 0u) << "who goes ends the answer";
  EXPECT_EQ(model.asking.notes.finish, "gone");
  EXPECT_EQ(model.asking.responses.size(), 0u);
}

// Whatever the order of parts, and however many tokens come at once, a stream says what is said at once.
TEST(Responses, AreTheSameStreamedAndAtOnce) {
  const std::string call =
      "\n<tool_call>\n{\"name\": \"time\", \"arguments\": {\"zone\": \"</tool_call> 🐳\"}}\n</tool_call>";
  const std::string patch =
      "\n<tool_call>\n{\"name\": \"patch\", \"arguments\": {\"input\": \"a\\nb\"}}\n</tool_call>";
  const std::string think = "<think>\nHm 🐳.", thought = "\n</think>\n\n";
  const Json tools = Json::array({function("time"), {{"type", "custom"}, {"name", "patch"}}});
  Random random(7);
  for (const std::string& says :
       {std::string(""), std::string("Hi 🐳"), think, think + thought, think + thought + "Hi", call, call + patch,
        "A" + call + "B" + patch + call + "C", think + call + "\nMore" + thought + "Hi", think + call,
        think + thought + "A" + patch, std::string("An open call: <tool_call>\n{\"name\"")})
    for (const int most : {1, 3, 50}) {
      SCOPED_TRACE(says);
      Model model(says, [&](int) { return 1 + static_cast<int>(random.next() % static_cast<uint64_t>(most)); });
      const Json more = {{"tools", tools},
                         {"include", {"reasoning.encrypted_content", "message.output_text.logprobs"}}};
      Json both = more;
      both["stream"] = true;
      const Json whole = model.respond("Hello", more), stream = streamed(model.ask("Hello", both));
      EXPECT_EQ(without_ids(whole["output"]), without_ids(stream["output"]));
      EXPECT_EQ(whole["usage"], stream["usage"]);
      EXPECT_EQ(whole["status"], stream["status"]);
      std::set<std::string> ids;
      for (const Json& item : stream["output"]) {
        EXPECT_TRUE(ids.insert(item["id"]).second);
        EXPECT_TRUE(!item.contains("call_id") || ids.insert(item["call_id"]).second);
      }
      EXPECT_FALSE(stream["output"].empty());
    }
}

TEST(Responses, AreIncompleteWhereTheyMayNotBeLonger) {
  const std::string says = std::string("<think>\nHm, so.\n</think>\n\n") + kCalls;
  const auto tokens = static_cast<int>(qwen().encode(says).size());
  std::set<std::string> last_items;
  for (int most = 1; most <= tokens; ++most) {
    SCOPED_TRACE(most);
    Model model(says);
    const Json more = {{"tools", kTools}, {"max_output_tokens", most}};
    Json both = more;
    both["stream"] = true;
    const Json whole = model.respond("Hello", more), stream = streamed(model.ask("Hello", both));
    EXPECT_EQ(without_ids(whole["output"]), without_ids(stream["output"]));
    EXPECT_EQ(whole["status"], "incomplete");
    EXPECT_EQ(whole["completed_at"], nullptr);
    EXPECT_EQ(whole["incomplete_details"], Json({{"reason", "max_output_tokens"}}));
    EXPECT_EQ(whole["usage"]["output_tokens"], most);
    const Json& output = whole["output"];
    for (size_t i = 0; i + 1 < output.size(); ++i) EXPECT_EQ(output[i]["status"], "completed");
    const std::string last = output.back()["type"];
    EXPECT_EQ(output.back()["status"], last == "function_call" ? "completed" : "incomplete");
    last_items.insert(last);
  }
  EXPECT_EQ(last_items, (std::set<std::string>{"reasoning", "message", "function_call"}));
}

TEST(Responses, CountTheTokensOfTheirInput) {
  Model model("Hi");
  const Json body = {{"input", "Hello"}, {"tools", kTools}, {"instructions", "Be brief."}, {"stream", true}};
  const RecordedExchange counted = model.asking.count_input(body);
  EXPECT_EQ(model.generator.asked.size(), 0u);
  EXPECT_EQ(model.asking.respond(body).status, 200);
  EXPECT_EQ(counted.json(), Json({{"object", "response.input_tokens"},
                                  {"input_tokens", model.generator.asked.back().prompt.size()}}));
  EXPECT_EQ(model.asking.count_input({{"input", Json::array()}}).json()["error"]["param"], "input");
}

TEST(Responses, EndAtAStopTextOrTheOneCall) {
  Model model("one two three");
  const Json said = model.respond("Hello", {{"stop", "two"}});
  EXPECT_EQ(said["output"][0]["content"][0]["text"], "one ");
  EXPECT_EQ(said["status"], "completed");
  Model calls(kCalls);
  const Json one = calls.respond("Hello", {{"tools", kTools}, {"parallel_tool_calls", false}});
  EXPECT_EQ(one["parallel_tool_calls"], false);
  ASSERT_EQ(one["output"].size(), 2u);
  EXPECT_EQ(one["output"][1]["name"], "weather");
  const Json none = calls.respond("Hello", {{"tools", kTools}, {"tool_choice", "none"}});
  EXPECT_EQ(none["tool_choice"], "none");
  EXPECT_EQ(none["output"].size(), 1u) << "no tool is offered";
  EXPECT_THAT(calls.prompt(), ::testing::Not(HasSubstr("weather")));
}

TEST(Responses, TellErrorsWithinAStream) {
  ScriptedGenerator generator([](const Request&) {
    return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("so far"), .error = "it fails"}};
  });
  Asking asking{served("gqa").model, generator};
  const auto all = events(asking.respond({{"input", "Hello"}, {"stream", true}}));
  ASSERT_GE(all.size(), 2u);
  const Json& error = all[all.size() - 2].data;
  EXPECT_EQ(error["type"], "error");
  EXPECT_EQ(error["message"], "it fails");
  EXPECT_EQ(error["code"], "engine_error");
  EXPECT_EQ(error["param"], nullptr);
  EXPECT_EQ(error["error"],
            Json({{"message", "it fails"}, {"type", "server_error"}, {"param", nullptr}, {"code", "engine_error"}}));
  EXPECT_EQ(all.back().name, "response.failed");
  EXPECT_EQ(all.back().data["response"]["status"], "failed");
  EXPECT_EQ(all.back().data["response"]["error"], Json({{"code", "server_error"}, {"message", "it fails"}}));
  EXPECT_EQ(asking.notes.error, "it fails");
  EXPECT_EQ(asking.responses.size(), 0u);
  EXPECT_EQ(asking.respond({{"input", "Hello"}}).status, 500);
}

TEST(Responses, TellLogprobsOfTexts) {
  Model model("<think>\nHm.\n</think>\n\nA 🐳");
  for (const Json& more : std::vector<Json>{{{"top_logprobs", 2}},
                                            {{"include", {"message.output_text.logprobs"}}, {"top_logprobs", 2}}}) {
    const Json said = model.respond("Hello", more);
    EXPECT_EQ(said["top_logprobs"], 2);
    std::string text;
    for (const Json& entry : said["output"][1]["content"][0]["logprobs"]) {
      EXPECT_EQ(entry["top_logprobs"].size(), 2u);
      for (const Json& byte : entry["bytes"]) text += static_cast<char>(byte.get<int>());
    }
    EXPECT_EQ(text, "A 🐳");
  }
  const Json alone = model.respond("Hello", {{"include", {"message.output_text.logprobs"}}});
  EXPECT_EQ(alone["output"][1]["content"][0]["logprobs"][0]["top_logprobs"], Json::array());
  EXPECT_EQ(model.generator.asked.back().logprobs, 0);
}

}  // namespace
}  // namespace cachalot::testing
