// Chat completions, from a request's body to all that its client is told. Expected prompts come from the templates
// themselves, expected token ids from the vocabularies; what is expected of shapes is what the official clients
// parse.
#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "base/random.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }

Json hello(const Json& more = Json::object()) {
  Json body = {{"messages", Json::array({user("Hello")})}};
  body.update(more);
  return body;
}

// What a stream says of one choice, joined.
struct Joined {
  std::string role, content, reasoning;
  Json calls = Json::array();  // as in a message
  Json logprobs = Json::array(), reasoning_logprobs = Json::array(), finish, stop;
  int finishes = 0;

  bool operator==(const Joined&) const = default;
};

// As clients join them: the first piece of a call has its id and name, and its arguments go on in later ones.
void join_calls(const Json& pieces, Json& calls) {
  for (const Json& piece : pieces) {
    const auto index = piece.at("index").get<size_t>();
    ASSERT_LE(index, calls.size());
    if (index == calls.size()) {
      EXPECT_EQ(piece["type"], "function");
      calls.push_back({{"id", piece.at("id")}, {"type", "function"}, {"function", piece.at("function")}});
    } else {
      auto& arguments = calls[index]["function"]["arguments"].get_ref<std::string&>();
      arguments += piece["function"].value("arguments", "");
    }
  }
}

std::vector<Joined> joined(RecordedExchange& exchange, int answers = 1) {
  std::vector<Joined> all(static_cast<size_t>(answers));
  for (const Json& chunk : exchange.events()) {
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_THAT(chunk["id"].get<std::string>(), StartsWith("chatcmpl-"));
    for (const Json& choice : chunk["choices"]) {
      Joined& one = all.at(choice["index"].get<size_t>());
      EXPECT_EQ(one.finishes, 0) << "news after the end";
      const Json& delta = choice["delta"];
      one.role += delta.value("role", "");
      one.content += delta.value("content", "");
      if (delta.contains("tool_calls")) join_calls(delta["tool_calls"], one.calls);
      one.reasoning += delta.value("reasoning_content", "");
      EXPECT_EQ(delta.value("reasoning_content", ""), delta.value("reasoning", ""));
      if (!choice["logprobs"].is_null()) {
        for (const Json& entry : choice["logprobs"]["content"]) one.logprobs.push_back(entry);
        if (choice["logprobs"].contains("reasoning_content"))
          for (const Json& entry : choice["logprobs"]["reasoning_content"]) one.reasoning_logprobs.push_back(entry);
      }
      if (choice["finish_reason"].is_null()) continue;
      one.finish = choice["finish_reason"];
      one.stop = choice["stop_reason"];
      ++one.finishes;
    }
  }
  return all;
}

TEST(OpenAiChat, AnswersWithOneObject) {
  ScriptedGenerator generator(saying(qwen(), {"<think>\nHm.\n</think>\n\nGrüß Gott 你好!"}));
  generator.cached_tokens = 4;
  Asking asking{served("gqa").model, generator};
  const RecordedExchange exchange = asking.chat(hello({{"seed", 7}, {"user", "me"}}));
  ASSERT_EQ(exchange.status, 200) << exchange.body;
  EXPECT_EQ(exchange.content_type, "application/json");
  const Json json = exchange.json();
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_THAT(json["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_EQ(json["model"], "org/model");
  EXPECT_GT(json["created"].get<int64_t>(), 1'700'000'000);
  EXPECT_EQ(json["system_fingerprint"], "fp_cachalot");
  ASSERT_EQ(json["choices"].size(), 1u);
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["message"], Json({{"role", "assistant"},
                                     {"content", "Grüß Gott 你好!"},
                                     {"refusal", nullptr},
                                     {"reasoning_content", "Hm."},
                                     {"reasoning", "Hm."}}));
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["logprobs"].is_null());

  ASSERT_EQ(generator.asked.size(), 1u);
  const Request& asked = generator.asked[0];
  const Prompt prompt =
      served("gqa").model.prompts.chat({{"messages", Json::array({user("Hello")})}, {"add_generation_prompt", true}});
  EXPECT_EQ(asked.prompt, prompt.tokens);
  EXPECT_EQ(asked.sampling.seed, 7u);
  EXPECT_EQ(asked.sampling.temperature, 0) << "the checkpoint's own";
  EXPECT_EQ(asked.end_tokens, served("gqa").defaults.end_tokens);
  EXPECT_EQ(asked.max_tokens, std::nullopt);
  EXPECT_EQ(asked.caller, "somebody");
  EXPECT_EQ(asked.salt, "salt");

  const auto reasoning = qwen().encode("<think>\nHm.\n</think>").size();  // and line breaks behind it
  const auto all = qwen().encode("<think>\nHm.\n</think>\n\nGrüß Gott 你好!").size();
  const Json& usage = json["usage"];
  EXPECT_EQ(usage["prompt_tokens"], prompt.tokens.size());
  EXPECT_EQ(usage["completion_tokens"], all);
  EXPECT_EQ(usage["total_tokens"], prompt.tokens.size() + all);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 4);
  EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"], reasoning + 1);
  EXPECT_EQ(asking.notes.completion_tokens, static_cast<int>(all));
  EXPECT_EQ(asking.notes.cached_tokens, 4);
  EXPECT_EQ(asking.notes.prompt_tokens, std::ssize(prompt.tokens));
  EXPECT_EQ(asking.notes.finish, "stop");
  EXPECT_EQ(asking.notes.model, "org/model");
}

TEST(OpenAiChat, StreamsWithRoleFirstAndUsageLast) {
  ScriptedGenerator generator(saying(qwen(), {"Hi there"}));
  Asking asking{served("gqa").model, generator};
  RecordedExchange exchange = asking.chat(hello({{"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  EXPECT_EQ(exchange.status, 200);
  EXPECT_THAT(exchange.content_type, StartsWith("text/event-stream"));
  const auto events = exchange.events();
  ASSERT_EQ(events.size(), 5u) << exchange.body;
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(events[1]["choices"][0]["delta"], Json({{"content", "Hi"}}));
  EXPECT_EQ(events[2]["choices"][0]["delta"], Json({{"content", " there"}}));
  EXPECT_EQ(events[3]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(events[3]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[4]["choices"], Json::array());
  EXPECT_EQ(events[4]["usage"]["completion_tokens"], 2);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(events[i].at("usage").is_null());
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
  }
  RecordedExchange plain = asking.chat(hello({{"stream", true}}));
  for (const Json& event : plain.events()) EXPECT_FALSE(event.contains("usage"));
  RecordedExchange always = asking.chat(
      hello({{"stream", true}, {"stream_options", {{"continuous_usage_stats", true}, {"include_usage", true}}}}));
  const auto counted = always.events();
  ASSERT_EQ(counted.size(), 5u);
  EXPECT_EQ(counted[0]["usage"]["completion_tokens"], 1) << "told with the first token";
  EXPECT_EQ(counted[2]["usage"]["completion_tokens"], 2);
}

// Headers come before the model has said anything, and comments while it is silent; the role comes with the first
// token, as benchmarks take the first event for it.
TEST(OpenAiChat, IsNeverSilent) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  generator.silent_steps = 3;
  Asking asking{served("gqa").model, generator};
  RecordedExchange exchange = asking.exchange(hello({{"stream", true}}));
  size_t parts_at_first_wait = 0;
  bool begun_at_first_wait = false;
  exchange.meanwhile = [&] {
    if (exchange.waits == 1) {
      parts_at_first_wait = exchange.parts.size();
      begun_at_first_wait = exchange.begun();
    }
    generator.step();
  };
  openai::chat_completions(exchange, asking.model, generator, asking.caller, asking.notes);
  EXPECT_TRUE(begun_at_first_wait);
  EXPECT_EQ(parts_at_first_wait, 0u);
  EXPECT_THAT(exchange.parts.at(3), HasSubstr("assistant")) << "behind three comments";
  exchange.events();
  EXPECT_EQ(exchange.comments, 3);
}

TEST(OpenAiChat, TellsTheSameWhereverStepsEnd) {
  const std::string text = "<think>\nFirst 你 , then\n\nmore.\n</think>\n\nA 🐳 dives STO STOP and goes on";
  const std::vector<std::vector<std::string>> stop_lists = {
      {}, {"STOP"}, {"then\n\nmo"}, {"🐳"}, {" dives STO S", "goes"}};
  for (const auto& stops : stop_lists) {
    const Json body = hello({{"stream", true}, {"stop", stops}, {"logprobs", true}, {"top_logprobs", 2}, {"n", 2}});
    std::vector<Joined> want;
    Json whole;
    for (int split = 0; split < 12; ++split) {
      SCOPED_TRACE(split);
      const auto random = std::make_shared<Random>(static_cast<uint64_t>(split));
      ScriptedGenerator generator(saying(qwen(), {text, "Something shorter STOP"}), [=](int) {
        return split == 0 ? 1 : split == 1 ? 1000 : static_cast<int>(random->next() % 5);
      });
      Asking asking{served("gqa").model, generator};
      RecordedExchange exchange = asking.chat(body);
      const auto got = joined(exchange, 2);
      if (split == 0) want = got;
      EXPECT_TRUE(got == want);
      EXPECT_EQ(generator.running(), 0u);
      // And the whole object says the same.
      Json unstreamed = body;
      unstreamed.erase("stream");
      const Json object = asking.chat(unstreamed).json();
      for (size_t i = 0; i < 2; ++i) {
        const Json& choice = object["choices"][i];
        EXPECT_EQ(choice["message"]["content"], want[i].content);
        EXPECT_EQ(choice["message"].value("reasoning_content", ""), want[i].reasoning);
        EXPECT_EQ(choice["logprobs"]["content"], want[i].logprobs);
        EXPECT_EQ(choice["logprobs"].value("reasoning_content", Json::array()), want[i].reasoning_logprobs);
        EXPECT_EQ(choice["finish_reason"], want[i].finish);
        EXPECT_EQ(choice["stop_reason"], want[i].stop);
      }
    }
  }
}

TEST(OpenAiChat, CutsAtAStopText) {
  struct Case {
    std::vector<std::string> stops;
    std::string content, reasoning;
    Json stop;
  };
  const std::string text = "<think>\nHm one.\n</think>\n\nAlpha beta gamma";
  for (const Case& c :
       {Case{{" beta"}, "Alpha", "Hm one.", " beta"}, Case{{"ha be"}, "Alp", "Hm one.", "ha be"},
        Case{{"gamma", "ta ga"}, "Alpha be", "Hm one.", "ta ga"}, Case{{"one"}, "", "Hm ", "one"},
        Case{{"gammas"}, "Alpha beta gamma", "Hm one.", nullptr}, Case{{"Alpha"}, "", "Hm one.", "Alpha"}}) {
    SCOPED_TRACE(c.stops[0]);
    ScriptedGenerator generator([&](const Request&) {
      const std::string more = c.stop.is_null() ? "<|im_end|>" : " and more, and more, and more";
      return std::vector<ScriptedAnswer>{{.tokens = qwen().encode(text + more)}};
    });
    Asking asking{served("gqa").model, generator};
    const Json choice = asking.chat(hello({{"stop", c.stops}})).json()["choices"][0];
    EXPECT_EQ(choice["message"]["content"], c.content);
    EXPECT_EQ(choice["message"].value("reasoning_content", ""), c.reasoning);
    EXPECT_EQ(choice["finish_reason"], "stop");
    EXPECT_EQ(choice["stop_reason"], c.stop);
    EXPECT_EQ(generator.cancelled, c.stop.is_null() ? 0 : 1) << "nothing more is wanted";
  }
}

TEST(OpenAiChat, IncludesTheStopTextWhenAsked) {
  ScriptedGenerator generator(saying(qwen(), {"Alpha beta gamma"}));
  Asking asking{served("gqa").model, generator};
  const Json body = hello({{"stop", "beta"}, {"include_stop_str_in_output", true}, {"logprobs", true}});
  const Json choice = asking.chat(body).json()["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "Alpha beta");
  EXPECT_EQ(choice["logprobs"]["content"].size(), qwen().encode("Alpha beta").size());
}

TEST(OpenAiChat, GivesLogprobsOfWhatIsTold) {
  const std::string text = "<think>\nHm.\n</think>\n\nA 🐳 STOP";
  ScriptedGenerator generator(saying(qwen(), {text}));
  Asking asking{served("gqa").model, generator};
  const Json json = asking.chat(hello({{"logprobs", true}, {"top_logprobs", 3}, {"stop", "STOP"}})).json();
  const Json& choice = json["choices"][0];
  // The bytes of all tokens are the text's.
  std::string bytes;
  for (const Json& entry : choice["logprobs"]["content"]) {
    std::string one;
    for (const Json& byte : entry["bytes"]) one += static_cast<char>(byte.get<int>());
    bytes += one;
    const auto token = qwen().find(one);
    ASSERT_TRUE(token) << entry;
    EXPECT_EQ(entry["logprob"].get<float>(), scripted_logprob(*token));
    ASSERT_EQ(entry["top_logprobs"].size(), 3u);
    EXPECT_EQ(entry["top_logprobs"][1]["token"], qwen().piece(1));
    EXPECT_EQ(entry["top_logprobs"][1]["logprob"], -0.25);
  }
  EXPECT_EQ(bytes, "A 🐳 STOP") << "the space in front of the stop text is told, and is of its token";
  std::string reasoning;
  for (const Json& entry : choice["logprobs"]["reasoning_content"]) reasoning += entry["token"];
  EXPECT_EQ(reasoning, "<think>\nHm.\n</think>\n\n");
  // A part of a character is told by its bytes.
  EXPECT_THAT(choice["logprobs"].dump(), HasSubstr(R"("token":" \\xf0\\x9f)"));
}

TEST(OpenAiChat, GivesIdsOfTokensWhenAsked) {
  const std::string text = "<think>\nHm.\n</think>\n\nA 🐳!";
  ScriptedGenerator generator(saying(qwen(), {text}));
  Asking asking{served("gqa").model, generator};
  std::vector<int32_t> ids = qwen().encode(text);
  ids.push_back(*qwen().eos());
  const Json whole = asking.chat(hello({{"return_token_ids", true}})).json();
  EXPECT_EQ(whole["choices"][0]["token_ids"], Json(ids)) << "reasoning, tags and the end token, too";
  EXPECT_EQ(whole["prompt_token_ids"], Json(generator.asked[0].prompt));

  RecordedExchange stream = asking.chat(hello({{"return_token_ids", true}, {"stream", true}}));
  const std::vector<Json> chunks = stream.events();
  std::vector<int32_t> told;
  for (const Json& chunk : chunks) {
    EXPECT_EQ(chunk.contains("prompt_token_ids"), &chunk == &chunks.front());
    const Json none = Json::array();
    for (const Json& id : chunk["choices"][0].contains("token_ids") ? chunk["choices"][0]["token_ids"] : none)
      told.push_back(id.get<int32_t>());
  }
  EXPECT_EQ(chunks.front()["prompt_token_ids"], Json(generator.asked[0].prompt));
  EXPECT_EQ(told, ids);

  const std::string silent = asking.chat(hello()).body;
  EXPECT_THAT(silent, ::testing::Not(HasSubstr("token_ids")));
}

TEST(OpenAiChat, GivesSeveralAnswersWithEndsOfTheirOwn) {
  ScriptedGenerator generator([](const Request&) {
    return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("one")},
                                       {.tokens = qwen().encode("two STOP and more and more")},
                                       {.tokens = qwen().encode("three<|im_end|>")}};
  });
  Asking asking{served("gqa").model, generator};
  const Json json = asking.chat(hello({{"n", 3}, {"stop", "STOP"}})).json();
  ASSERT_EQ(json["choices"].size(), 3u);
  std::vector<std::string> texts, ends;
  for (const Json& choice : json["choices"]) {
    texts.push_back(choice["message"]["content"]);
    ends.push_back(choice["finish_reason"]);
  }
  EXPECT_THAT(texts, ElementsAre("one", "two ", "three"));
  EXPECT_THAT(ends, ElementsAre("length", "stop", "stop"));
  EXPECT_EQ(generator.asked[0].answers, 3);
  EXPECT_EQ(generator.cancelled, 1);
}

TEST(OpenAiChat, EndsAStreamThatFailsWithAnErrorEvent) {
  ScriptedGenerator generator([](const Request&) {
    return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("So far"), .error = "the weights are broken"}};
  });
  Asking asking{served("gqa").model, generator};
  RecordedExchange streamed = asking.chat(hello({{"stream", true}}));
  EXPECT_EQ(streamed.status, 200);
  const auto events = streamed.events();
  EXPECT_EQ(events.back()["error"]["message"], "the weights are broken");
  EXPECT_EQ(events.back()["error"]["type"], "server_error");
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["delta"]["content"], " far");
  EXPECT_EQ(asking.notes.error, "the weights are broken");
  const RecordedExchange whole = asking.chat(hello());
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.json()["error"]["message"], "the weights are broken");

  ScriptedGenerator ending([](const Request&) {
    return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("So far"), .cancelled = true}};
  });
  Asking late{served("gqa").model, ending};
  EXPECT_EQ(late.chat(hello()).status, 503);
}

TEST(OpenAiChat, CancelsWhenTheClientHasGone) {
  for (const bool stream : {true, false}) {
    ScriptedGenerator generator(
        [](const Request&) { return std::vector<ScriptedAnswer>{{.tokens = {5, 6}, .endless = true}}; });
    Asking asking{served("gqa").model, generator};
    RecordedExchange exchange = asking.exchange(hello({{"stream", stream}, {"n", 2}}));
    exchange.gone_after = 4;
    EXPECT_THROW(openai::chat_completions(exchange, asking.model, generator, asking.caller, asking.notes),
                 http::ClientGone);
    EXPECT_EQ(generator.cancelled, 2);
    EXPECT_EQ(generator.running(), 0u);
    EXPECT_EQ(asking.notes.finish, "gone");
    EXPECT_EQ(asking.notes.completion_tokens, 8);
  }
}

TEST(OpenAiChat, BeginsNothingWhenThereIsNoRoom) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  generator.room = 0;
  Asking asking{served("gqa").model, generator};
  RecordedExchange exchange = asking.exchange(hello({{"stream", true}}));
  EXPECT_THROW(openai::chat_completions(exchange, asking.model, generator, asking.caller, asking.notes), Busy);
  EXPECT_FALSE(exchange.begun());
}

TEST(OpenAiChat, RefusesAPromptBeyondTheContext) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  std::string long_text;
  for (int i = 0; i < 5000; ++i) long_text += " whale";
  const RecordedExchange exchange = asking.chat({{"messages", Json::array({user(long_text)})}});
  EXPECT_EQ(exchange.status, 400);
  const Json error = exchange.json()["error"];
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "messages");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("4096"));
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("5008"));
  EXPECT_TRUE(generator.asked.empty());
}

TEST(OpenAiChat, ContinuesTheLastMessage) {
  ScriptedGenerator generator(saying(qwen(), {" of June."}));
  Asking asking{served("gqa").model, generator};
  const Json messages = {user("When?"), {{"role", "assistant"}, {"content", "On the 5th"}}};
  ASSERT_EQ(asking.chat({{"messages", messages}, {"continue_final_message", true}}).status, 200);
  const std::string prompt = qwen().decode(generator.asked[0].prompt);
  EXPECT_TRUE(prompt.ends_with("On the 5th")) << prompt;
  // A user's words at the end, and a generation prompt besides, cannot be continued.
  for (const Json& more : {Json{{"messages", Json::array({user("Hi")})}}, Json{{"add_generation_prompt", true}}}) {
    Json body = {{"messages", messages}, {"continue_final_message", true}};
    body.update(more);
    const RecordedExchange exchange = asking.chat(body);
    EXPECT_EQ(exchange.status, 400);
    EXPECT_EQ(exchange.json()["error"]["param"], "continue_final_message");
  }
}

TEST(OpenAiChat, KeepsWhatIsSaidPlain) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  asking.chat({{"messages", Json::array({user("<|im_end|>")})}});
  const auto& prompt = generator.asked[0].prompt;
  const int end = *qwen().find("<|im_end|>");
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), end), 1) << "that of the turn alone";
}

TEST(OpenAiChat, TakesMessagesAsClientsWriteThem) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  const auto prompt = [&](const Json& messages) {
    generator.asked.clear();
    const RecordedExchange exchange = asking.chat({{"messages", messages}});
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return generator.asked.empty() ? std::string() : qwen().decode(generator.asked[0].prompt);
  };
  const auto rendered = [](const Json& messages) {
    return served("gqa").text.chat_template->render({{"messages", messages}});
  };
  const Json system = {{"role", "system"}, {"content", "Be brief."}};
  EXPECT_EQ(prompt({{{"role", "developer"}, {"content", "Be brief."}}, user("a")}), rendered({system, user("a")}));
  const Json twice = {{"role", "system"}, {"content", "Be brief.\n\nBe brief."}};
  EXPECT_EQ(prompt({system, system, user("a"), user("b")}), rendered({twice, user("a"), user("b")}));
  const Json part_a = {{"type", "text"}, {"text", "a"}}, part_b = {{"type", "text"}, {"text", "b"}};
  EXPECT_EQ(prompt(Json::array({{{"role", "user"}, {"content", Json::array({part_a, part_b})}}})),
            rendered(Json::array({user("a\nb")})));
  // What the official client gives back of an answer with calls.
  const Json call = {{"id", "c1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", R"({"x": 1})"}}}};
  Json object = call;
  object["function"]["arguments"] = {{"x", 1}};
  const Json tool = {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "2"}};
  EXPECT_EQ(
      prompt({user("a"),
              {{"role", "assistant"},
               {"content", nullptr},
               {"refusal", nullptr},
               {"audio", nullptr},
               {"function_call", nullptr},
               {"annotations", Json::array()},
               {"tool_calls", Json::array({call})}},
              tool}),
      rendered({user("a"), {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({object})}}, tool}));
}

// Templates differ in the form of calls that they take; one that has no place for text either is refused.
TEST(OpenAiChat, GivesCallsInTheFormThatTheTemplateTakes) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  const Json call = {
      {"id", "c1"}, {"type", "function"}, {"function", {{"name", "weather"}, {"arguments", R"({"x": 1})"}}}};
  const Json messages = {user("a"),
                         {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", Json::array({call})}}};
  const auto asked = [&](const char* call_template) {
    generator.asked.clear();
    const Served served(test_model("gqa"),
                        std::string("{% for m in messages %}{{ m.role }}{% for c in m.tool_calls %}") +
                            call_template + "{% endfor %}{% endfor %}");
    Asking asking{served.model, generator};
    const RecordedExchange exchange = asking.chat({{"messages", messages}});
    return exchange.status == 200 ? qwen().decode(generator.asked[0].prompt)
                                  : exchange.json()["error"]["message"].get<std::string>();
  };
  EXPECT_EQ(asked("{{ c.function.name }}{% for k, v in c.function.arguments.items() %}{{ k ~ v }}{% endfor %}"),
            "userassistantweatherx1");
  EXPECT_EQ(asked("{{ c.function.name + c.function.arguments }}"), R"(userassistantweather{"x": 1})");
  EXPECT_EQ(asked("{{ m.content + c.function.name }}{{ c.function.arguments|tojson }}"),
            R"(userassistantweather{"x": 1})");
  EXPECT_EQ(asked("{{ c.function.name + c.function.arguments if m.content is none }}"),
            R"(userassistantweather{"x": 1})");
  EXPECT_THAT(asked("a call"), HasSubstr("leaves out calls"));
}

TEST(OpenAiChat, RefusesMessagesThatAreNoText) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  const Json image = {{"type", "image_url"}, {"image_url", {{"url", "data:"}}}},
             audio = {{"type", "input_audio"}, {"input_audio", Json::object()}};
  struct Case {
    Json message;
    std::string param, says;
  };
  for (const Case& c : std::vector<Case>{
           {{{"role", "user"}, {"content", Json::array({image})}}, "messages[1].content[0].type", "image_url"},
           {{{"role", "user"}, {"content", Json::array({audio})}}, "messages[1].content[0].type", "input_audio"},
           {{{"role", "user"}, {"content", Json::array({{{"type", "text"}}})}},
            "messages[1].content[0].text",
            "missing"},
           {{{"role", "user"}, {"content", nullptr}}, "messages[1].content", "null"},
           {{{"role", "user"}, {"content", 5}}, "messages[1].content", "5"},
           {{{"role", "assistant"}}, "messages[1].content", "missing"},
           {{{"role", "king"}, {"content", "x"}}, "messages[1].role", "king"},
           {{{"role", "assistant"}, {"content", "x"}, {"function_call", {{"name", "f"}}}},
            "messages[1].function_call",
            "tool_calls"},
           {{{"role", "assistant"}, {"content", "x"}, {"audio", {{"id", "a"}}}}, "messages[1].audio", "text"},
           {{{"role", "assistant"}, {"content", "x"}, {"prefix", true}},
            "messages[1].prefix",
            "continue_final_message"},
           {{{"role", "assistant"}, {"tool_calls", Json::array({{{"id", "x"}}})}},
            "messages[1].tool_calls[0].function",
            "missing"},
       }) {
    const RecordedExchange exchange = asking.chat({{"messages", {user("a"), c.message}}});
    EXPECT_EQ(exchange.status, 400) << c.message;
    const Json error = exchange.json()["error"];
    EXPECT_EQ(error["param"], c.param);
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(c.says));
  }
  EXPECT_TRUE(generator.asked.empty());
}

TEST(OpenAiChat, TellsOfToolsUnlessTheyAreNotToBeCalled) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  const Json tools = {{{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", Json::object()}}}}};
  asking.chat(hello({{"tools", tools}}));
  asking.chat(hello({{"tools", tools}, {"tool_choice", "auto"}}));
  asking.chat(hello({{"tools", tools}, {"tool_choice", "none"}}));
  asking.chat(hello());
  ASSERT_EQ(generator.asked.size(), 4u);
  EXPECT_THAT(qwen().decode(generator.asked[0].prompt), HasSubstr("weather"));
  EXPECT_EQ(generator.asked[1].prompt, generator.asked[0].prompt);
  EXPECT_EQ(generator.asked[2].prompt, generator.asked[3].prompt);
}

// DeepSeek-V3's template does not write them. The marks of a call in what is written instead are tokens, those in
// what the client says of a tool are not.
TEST(OpenAiChat, ExplainsToolsWhereTheTemplateDoesNot) {
  const Tokenizer& tokenizer = served("mla").text.tokenizer;
  ScriptedGenerator generator(saying(tokenizer, {"Hi"}));
  Asking asking{served("mla").model, generator};
  const Json tools = {
      {{"type", "function"}, {"function", {{"name", "weather"}, {"description", "<｜end▁of▁sentence｜>"}}}}};
  asking.chat(hello({{"tools", tools}}));
  ASSERT_EQ(generator.asked.size(), 1u);
  const auto& prompt = generator.asked[0].prompt;
  const std::string text = tokenizer.decode(prompt);
  EXPECT_THAT(text, HasSubstr(R"({"name": "weather", "description": "<｜end▁of▁sentence｜>"})"));
  EXPECT_LT(text.find("weather"), text.find("<｜User｜>Hello"));
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), *tokenizer.find("<｜end▁of▁sentence｜>")), 0);
}

TEST(OpenAiChat, GivesVariablesToTheTemplate) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Asking asking{served("gqa").model, generator};
  asking.chat(hello({{"chat_template_kwargs", {{"enable_thinking", false}}}}));
  asking.chat(hello({{"reasoning_effort", "none"}}));
  ASSERT_EQ(generator.asked.size(), 2u);
  EXPECT_TRUE(qwen().decode(generator.asked[0].prompt).ends_with("<think>\n\n</think>\n\n"));
  EXPECT_EQ(generator.asked[1].prompt, generator.asked[0].prompt);
  EXPECT_EQ(asking.chat(hello({{"reasoning_effort", "high"}})).status, 200) << "without effect: nothing reads it";
}

TEST(OpenAiChat, SaysWhatATemplateRefuses) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  Served served(test_model("gqa"),
                "{% if messages[0].role != 'user' %}{{ raise_exception('users speak first') }}{% endif %}x");
  Asking asking{served.model, generator};
  const RecordedExchange exchange =
      asking.chat({{"messages", {{{"role", "assistant"}, {"content", "x"}}, user("a")}}});
  EXPECT_EQ(exchange.status, 400);
  EXPECT_EQ(exchange.json()["error"]["param"], "messages");
  EXPECT_THAT(exchange.json()["error"]["message"].get<std::string>(), HasSubstr("users speak first"));
  served.text.chat_template.reset();
  const RecordedExchange base = asking.chat(hello());
  EXPECT_EQ(base.status, 400);
  EXPECT_THAT(base.json()["error"]["message"].get<std::string>(), HasSubstr("/v1/completions"));
}

TEST(OpenAiChat, LetsNoEndTokenComeBeforeItsTime) {
  ScriptedGenerator generator(saying(qwen(), {"STOP and STOP again"}));
  Asking asking{served("gqa").model, generator};
  const Json choice = asking.chat(hello({{"min_tokens", 2}, {"stop", "STOP"}})).json()["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "STOP and ");
  const Request& asked = generator.asked[0];
  ASSERT_TRUE(asked.allowed);
  const auto may = [&](int token, size_t so_far) {
    const std::vector<int32_t> tokens(so_far, 5);
    const auto mask = asked.allowed(0, tokens);
    return mask.empty() || (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
  };
  const int end = *qwen().find("<|im_end|>");
  EXPECT_FALSE(may(end, 0));
  EXPECT_FALSE(may(end, 1));
  EXPECT_TRUE(may(end, 2));
  EXPECT_TRUE(may(5, 0));
  asking.chat(hello({{"allowed_token_ids", {5, 64}}}));
  const auto mask = generator.asked[1].allowed(0, {});
  EXPECT_EQ(std::accumulate(mask.begin(), mask.end(), uint64_t{0}), (uint64_t{1} << 5) + 1);
}

TEST(OpenAiChat, LeavesReasoningOutWhenAsked) {
  ScriptedGenerator generator(saying(qwen(), {"<think>\nHm.\n</think>\n\nYes"}));
  Asking asking{served("gqa").model, generator};
  const Json message = asking.chat(hello({{"include_reasoning", false}})).json()["choices"][0]["message"];
  EXPECT_EQ(message, Json({{"role", "assistant"}, {"content", "Yes"}, {"refusal", nullptr}}));
}

// -- Calls

Json tools() {
  const Json parameters = {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}};
  return Json::array({{{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", parameters}}}},
                      {{"type", "function"}, {"function", {{"name", "time"}, {"parameters", parameters}}}}});
}

std::string written(const std::string& name, const std::string& arguments) {
  return "<tool_call>\n{\"name\": \"" + name + "\", \"arguments\": " + arguments + "}\n</tool_call>";
}

// The calls of a message or of what a stream says, without their ids, which are all different.
std::vector<std::pair<std::string, std::string>> without_ids(const Json& calls) {
  std::vector<std::pair<std::string, std::string>> all;
  std::set<std::string> ids;
  for (const Json& call : calls) {
    EXPECT_EQ(call["type"], "function");
    EXPECT_THAT(call["id"].get<std::string>(), StartsWith("call_"));
    ids.insert(call["id"]);
    all.emplace_back(call["function"]["name"], call["function"]["arguments"]);
  }
  EXPECT_EQ(ids.size(), all.size());
  return all;
}

using Calls = std::vector<std::pair<std::string, std::string>>;

TEST(OpenAiChat, CallsOfToolsComeApartFromText) {
  const std::string first = R"({"city": "Köln </tool_call> \"am\" Rhein"})", second = "{}";
  const std::string text =
      "<think>\nHm.\n</think>\n\nLet me look.\n" + written("weather", first) + "\n" + written("time", second);
  ScriptedGenerator generator(saying(qwen(), {text}));
  Asking asking{served("gqa").model, generator};
  const RecordedExchange exchange = asking.chat(hello({{"tools", tools()}}));
  ASSERT_EQ(exchange.status, 200) << exchange.body;
  const Json choice = exchange.json()["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "Let me look.");
  EXPECT_EQ(choice["message"]["reasoning_content"], "Hm.");
  EXPECT_EQ(without_ids(choice["message"]["tool_calls"]), (Calls{{"weather", first}, {"time", second}}));
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
}

TEST(OpenAiChat, AMessageOfCallsAloneHasNoContent) {
  ScriptedGenerator generator(saying(qwen(), {written("time", "{}")}));
  Asking asking{served("gqa").model, generator};
  const Json message = asking.chat(hello({{"tools", tools()}})).json()["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["tool_calls"].size(), 1u);
}

TEST(OpenAiChat, StreamedCallsAreThoseOfTheWholeAnswerHoweverTokensCome) {
  const std::vector<std::string> texts = {
      "Both.\n" + written("weather", R"({"city": "Köln"})") + "\n" + written("time", R"({"city": "<think>"})"),
      "One.\n" + written("time", "{}") + "\nTwo.\n" + written("time", "{}") + written("time", "{}") + "\n\nThree.",
      "No <tool_call> here, and {\"name\": 1}", "<think>\n" + written("time", "{}") + "\n</think>\n\nDone."};
  for (const int step : {1, 2, 3, 7, 1000}) {
    ScriptedGenerator whole(saying(qwen(), texts)), streamed(saying(qwen(), texts), [=](int) { return step; });
    const Json asked = {{"tools", tools()}, {"n", 4}, {"logprobs", true}, {"seed", 1}};
    Asking at_once{served("gqa").model, whole}, in_pieces{served("gqa").model, streamed};
    const Json choices = at_once.chat(hello(asked)).json()["choices"];
    Json and_stream = asked;
    and_stream["stream"] = true;
    RecordedExchange exchange = in_pieces.chat(hello(and_stream));
    const auto pieces = joined(exchange, 4);
    for (size_t i = 0; i < 4; ++i) {
      SCOPED_TRACE(texts[i]);
      const Json& message = choices[i]["message"];
      EXPECT_EQ(pieces[i].content, message["content"].is_null() ? "" : message["content"].get<std::string>());
      EXPECT_EQ(pieces[i].reasoning, message.value("reasoning_content", ""));
      EXPECT_EQ(without_ids(pieces[i].calls), without_ids(message.value("tool_calls", Json::array())));
      EXPECT_EQ(pieces[i].finish, choices[i]["finish_reason"]);
      EXPECT_EQ(pieces[i].logprobs, choices[i]["logprobs"]["content"]);
    }
    EXPECT_EQ(pieces[0].finish, "tool_calls");
    EXPECT_EQ(pieces[1].content, "One.\nTwo.\nThree.");
    EXPECT_EQ(pieces[2].content, texts[2]);
    EXPECT_EQ(pieces[2].finish, "stop");
    EXPECT_EQ(pieces[3].calls.size(), 1u);
  }
}

TEST(OpenAiChat, WhatIsNoCallStaysText) {
  const std::vector<std::string> texts = {
      "<tool_call>\n{\"name\": \"time\", \"arguments\": {\"city\": }\n</tool_call>",
      "<tool_call>\n{\"arguments\": {}}\n</tool_call>", "<tool_call></tool_call>", "<tool_call>\n{\"name\": \"ti"};
  ScriptedGenerator generator(saying(qwen(), texts));
  Asking asking{served("gqa").model, generator};
  const Json choices = asking.chat(hello({{"tools", tools()}, {"n", texts.size()}})).json()["choices"];
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(choices[i]["message"]["content"], texts[i]);
    EXPECT_FALSE(choices[i]["message"].contains("tool_calls"));
    EXPECT_EQ(choices[i]["finish_reason"], "stop");
  }
}

TEST(OpenAiChat, CallsAreTextWhereNoToolsAreOffered) {
  const std::string text = "Look:\n" + written("time", "{}");
  for (const Json& more : {Json::object(), Json{{"tools", tools()}, {"tool_choice", "none"}}}) {
    ScriptedGenerator generator(saying(qwen(), {text}));
    Asking asking{served("gqa").model, generator};
    const Json choice = asking.chat(hello(more)).json()["choices"][0];
    EXPECT_EQ(choice["message"]["content"], text);
    EXPECT_EQ(choice["finish_reason"], "stop");
  }
}

TEST(OpenAiChat, TheFirstCallEndsAnAnswerThatMayHaveOne) {
  const std::string text = written("weather", "{}") + "\n" + written("time", "{}") + "\nmore";
  ScriptedGenerator generator(saying(qwen(), {text}));
  Asking asking{served("gqa").model, generator};
  const Json choice = asking.chat(hello({{"tools", tools()}, {"parallel_tool_calls", false}})).json()["choices"][0];
  EXPECT_EQ(without_ids(choice["message"]["tool_calls"]), (Calls{{"weather", "{}"}}));
  EXPECT_TRUE(choice["message"]["content"].is_null());
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
}

TEST(OpenAiChat, ACallThatTheLengthCutsIsText) {
  const std::string text = written("weather", R"({"city": "Köln and all that lies around it"})");
  ScriptedGenerator generator(saying(qwen(), {text}));
  Asking asking{served("gqa").model, generator};
  const Json choice = asking.chat(hello({{"tools", tools()}, {"max_tokens", 12}})).json()["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_FALSE(choice["message"].contains("tool_calls"));
  EXPECT_EQ(text.find(choice["message"]["content"].get<std::string>()), 0u);
}

}  // namespace
}  // namespace cachalot::testing
