// Completions, tokens and models. What evaluation harnesses read of log-probabilities is written down as they read
// it.
#include <gmock/gmock.h>

#include "server/served.h"

namespace cachalot::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }
const Tokenizer& deepseek() { return served("mla").text.tokenizer; }

size_t code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The bytes at an offset in code points.
std::string_view from(std::string_view text, size_t points) {
  size_t at = 0;
  while (at < text.size() && points > 0) {
    do ++at;
    while (at < text.size() && (text[at] & 0xC0) == 0x80);
    --points;
  }
  return text.substr(at);
}

struct Joined {
  std::string text;
  Json tokens = Json::array(), token_logprobs = Json::array(), top_logprobs = Json::array(),
       text_offset = Json::array(), finish;

  bool operator==(const Joined&) const = default;
  void add(const Json& choice) {
    text += choice["text"];
    if (!choice["finish_reason"].is_null()) finish = choice["finish_reason"];
    if (choice["logprobs"].is_null()) return;
    const auto append = [&](Json& list, const char* name) {
      for (const Json& one : choice["logprobs"][name]) list.push_back(one);
    };
    append(tokens, "tokens");
    append(token_logprobs, "token_logprobs");
    append(top_logprobs, "top_logprobs");
    append(text_offset, "text_offset");
  }
};

std::vector<Joined> joined(RecordedExchange& exchange, size_t choices) {
  std::vector<Joined> all(choices);
  for (const Json& chunk : exchange.events()) {
    EXPECT_EQ(chunk["object"], "text_completion");
    EXPECT_THAT(chunk["id"].get<std::string>(), StartsWith("cmpl-"));
    for (const Json& choice : chunk["choices"]) all.at(choice["index"].get<size_t>()).add(choice);
  }
  return all;
}

TEST(OpenAiCompletions, GoOnWithAText) {
  ScriptedGenerator generator(saying(qwen(), {" there was <think> a whale."}));
  Asking asking{served("gqa").model, generator};
  const Json json = asking.complete({{"prompt", "Once <|im_start|>"}, {"max_tokens", 50}}).json();
  EXPECT_EQ(json["object"], "text_completion");
  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["text"], " there was <think> a whale.") << "there is no reasoning in a completion";
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_TRUE(choice["logprobs"].is_null());
  EXPECT_EQ(json["usage"]["completion_tokens"], qwen().encode(" there was <think> a whale.").size());
  EXPECT_EQ(generator.asked[0].prompt, qwen().encode("Once <|im_start|>")) << "special tokens are recognised";
  EXPECT_EQ(generator.asked[0].prompt.back(), *qwen().find("<|im_start|>"));
  EXPECT_EQ(generator.asked[0].max_tokens, 50);
  EXPECT_EQ(generator.asked[0].prompt_logprobs, -1);
}

TEST(OpenAiCompletions, PutABosWhereTheCheckpointAsksForOne) {
  ScriptedGenerator generator(saying(deepseek(), {"x"}));
  Asking asking{served("mla").model, generator};
  asking.complete({{"prompt", "Hi"}});
  asking.complete({{"prompt", "Hi"}, {"add_special_tokens", false}});
  EXPECT_EQ(generator.asked[0].prompt, deepseek().encode_with_bos("Hi"));
  EXPECT_EQ(generator.asked[1].prompt, deepseek().encode("Hi"));
}

TEST(OpenAiCompletions, TakeListsOfPrompts) {
  ScriptedGenerator generator([](const Request& request) {
    return std::vector<ScriptedAnswer>{{.tokens = request.prompt}, {.tokens = qwen().encode("second")}};
  });
  Asking asking{served("gqa").model, generator};
  const std::vector<std::string> texts = {"one", "two 你好", "three"};
  Json ids = Json::array();
  for (const auto& text : texts) ids.push_back(qwen().encode(text));
  for (const Json& prompt : {Json(texts), ids}) {
    const Json json = asking.complete({{"prompt", prompt}, {"n", 2}}).json();
    ASSERT_EQ(json["choices"].size(), 6u);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_EQ(json["choices"][i]["index"], i);
      EXPECT_EQ(json["choices"][i]["text"], i % 2 == 0 ? texts[i / 2] : "second");
    }
    RecordedExchange streamed = asking.complete({{"prompt", prompt}, {"n", 2}, {"stream", true}});
    const auto got = joined(streamed, 6);
    for (size_t i = 0; i < 6; ++i) EXPECT_EQ(got[i].text, i % 2 == 0 ? texts[i / 2] : "second");
  }
  EXPECT_EQ(asking.notes.prompts, 3);
  EXPECT_EQ(asking.notes.answers, 6);
}

// As many prompts as there is room for run side by side, and the others when these have ended.
TEST(OpenAiCompletions, WaitForRoomForTheOthersOfAList) {
  ScriptedGenerator generator(
      [](const Request& request) { return std::vector<ScriptedAnswer>{{.tokens = request.prompt}}; });
  generator.room = 3;
  Asking asking{served("gqa").model, generator};
  Json prompts = Json::array(), want = Json::array();
  for (int i = 0; i < 100; ++i) prompts.push_back("number " + std::to_string(i));
  const Json json = asking.complete({{"prompt", prompts}}).json();
  for (const Json& choice : json["choices"]) want.push_back(choice["text"]);
  EXPECT_EQ(want, prompts);
  EXPECT_EQ(generator.running(), 0u);
}

// The choice's log-probabilities as lm-eval's local-completions reads them: of the tokens behind the context, but for
// the one that was generated.
TEST(OpenAiCompletions, EchoThePromptWithItsLogprobs) {
  const std::string context = "Question: what is 你? 🐳", continuation = " Answer: 5";
  const auto context_tokens = qwen().encode(context), all = qwen().encode(context + continuation);
  ScriptedGenerator generator([](const Request&) {
    return std::vector<ScriptedAnswer>{{.tokens = qwen().encode("<|im_end|>")}, {.tokens = qwen().encode(" more")}};
  });
  for (const int chunk : {1000, 3}) {
    generator.prompt_chunk = chunk;
    Asking asking{served("gqa").model, generator};
    const Json body = {{"prompt", Json::array({all})},
                       {"temperature", 0},
                       {"max_tokens", 1},
                       {"logprobs", 1},
                       {"seed", 1234},
                       {"echo", true},
                       {"n", 2}};
    const Json json = asking.complete(body).json();
    EXPECT_EQ(generator.asked.back().prompt_logprobs, 1);
    for (const Json& choice : json["choices"]) {
      const bool ended = choice["index"] == 0;  // at once: its end token has an entry, too
      const Json& logprobs = choice["logprobs"];
      ASSERT_EQ(logprobs["tokens"].size(), all.size() + 1);
      ASSERT_EQ(logprobs["token_logprobs"].size(), all.size() + 1);
      ASSERT_EQ(logprobs["top_logprobs"].size(), all.size() + 1);
      EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
      EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
      float sum = 0, want = 0;
      for (size_t i = context_tokens.size(); i < all.size(); ++i) {
        sum += logprobs["token_logprobs"][i].get<float>();
        want += scripted_logprob(all[i]);
        float best = -1e9F;
        for (const Json& value : logprobs["top_logprobs"][i]) best = std::max(best, value.get<float>());
        EXPECT_EQ(best, std::max(-0.125F, scripted_logprob(all[i])));
      }
      EXPECT_EQ(sum, want);
      EXPECT_EQ(choice["text"], context + continuation + (ended ? "" : " more"));
      const std::string text = choice["text"];
      for (size_t i = 0; i < all.size() + !ended; ++i) {
        const std::string token = logprobs["tokens"][i];
        const size_t offset = logprobs["text_offset"][i].get<size_t>();
        if (!token.starts_with("bytes:")) { EXPECT_TRUE(from(text, offset).starts_with(token)) << token; }
      }
      EXPECT_EQ(logprobs["text_offset"][all.size()], code_points(context + continuation));
      EXPECT_EQ(logprobs["tokens"][all.size()], ended ? "<|im_end|>" : " more");
      EXPECT_THAT(logprobs.dump(), HasSubstr(R"("bytes: \\xf0\\x9f)"));
    }
    RecordedExchange streamed = asking.complete([&] {
      Json with = body;
      with["stream"] = true;
      return with;
    }());
    const auto got = joined(streamed, 2);
    for (size_t i = 0; i < 2; ++i) {
      Joined want;
      want.add(json["choices"][i]);
      EXPECT_TRUE(got[i] == want) << streamed.body;
    }
  }
}

TEST(OpenAiCompletions, EchoATextAsItCame) {
  ScriptedGenerator generator(saying(deepseek(), {" and"}));
  Asking asking{served("mla").model, generator};
  const Json choice = asking.complete({{"prompt", "Hi you"}, {"echo", true}, {"logprobs", 0}}).json()["choices"][0];
  EXPECT_EQ(choice["text"], "Hi you and") << "without the BOS that it has not";
  EXPECT_THAT(choice["logprobs"]["text_offset"], ElementsAre(0, 0, 2, 6, 10));
  EXPECT_EQ(choice["logprobs"]["top_logprobs"][2].size(), 1u) << "the chosen one";
  const Json plain = asking.complete({{"prompt", "Hi you"}, {"echo", true}}).json()["choices"][0];
  EXPECT_EQ(plain["text"], "Hi you and");
  RecordedExchange streamed = asking.complete({{"prompt", "Hi you"}, {"echo", true}, {"stream", true}});
  EXPECT_EQ(joined(streamed, 1)[0].text, "Hi you and");
  // The prompt alone.
  const Json alone = asking.complete({{"prompt", "Hi you"}, {"echo", true}, {"logprobs", 0}, {"max_tokens", 0}})
                         .json()["choices"][0];
  EXPECT_EQ(alone["text"], "Hi you");
  EXPECT_EQ(alone["finish_reason"], "length");
  EXPECT_EQ(alone["logprobs"]["tokens"].size(), 3u);
}

TEST(OpenAiCompletions, CountOffsetsOfAnswersFromTheirBeginning) {
  ScriptedGenerator generator(saying(qwen(), {"你 🐳 a STOP b"}));
  Asking asking{served("gqa").model, generator};
  const Json choice = asking.complete({{"prompt", "x"}, {"logprobs", 2}, {"stop", "TOP"}}).json()["choices"][0];
  EXPECT_EQ(choice["text"], "你 🐳 a S");
  const Json& logprobs = choice["logprobs"];
  const auto tokens = qwen().encode("你 🐳 a STOP");
  ASSERT_EQ(logprobs["tokens"].size(), tokens.size());
  size_t bytes = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string before = std::string(qwen().decode(std::span(tokens).first(i)));
    // A token within a character begins where the character does.
    size_t points = code_points(before);
    if (before.ends_with("\uFFFD")) --points;
    EXPECT_EQ(logprobs["text_offset"][i], points) << i;
    bytes += qwen().bytes(tokens[i]).size();
  }
}

TEST(OpenAiCompletions, GiveIdsOfTokensWhenAsked) {
  ScriptedGenerator generator(saying(qwen(), {" a 🐳", "🐳 b"}));
  Asking asking{served("gqa").model, generator};
  const auto ids = [&](const char* text) {
    std::vector<int32_t> all = qwen().encode(text);
    all.push_back(*qwen().eos());
    return Json(all);
  };
  const Json body = {{"prompt", {"x y", "z"}}, {"n", 2}, {"return_token_ids", true}};
  const Json whole = asking.complete(body).json();
  ASSERT_EQ(whole["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(whole["choices"][i]["token_ids"], ids(i % 2 == 0 ? " a 🐳" : "🐳 b"));
    EXPECT_EQ(whole["choices"][i]["prompt_token_ids"], Json(qwen().encode(i < 2 ? "x y" : "z")));
  }

  Json streamed = body;
  streamed["stream"] = true;
  std::vector<Json> told(4, Json::array()), prompts(4, Json::array());
  RecordedExchange stream = asking.complete(streamed);
  for (const Json& chunk : stream.events())
    for (const Json& choice : chunk["choices"]) {
      const auto at = choice["index"].get<size_t>();
      for (const Json& id : choice["token_ids"]) told[at].push_back(id);
      if (choice.contains("prompt_token_ids")) prompts[at].push_back(choice["prompt_token_ids"]);
    }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(told[i], whole["choices"][i]["token_ids"]);
    EXPECT_EQ(prompts[i], Json::array({whole["choices"][i]["prompt_token_ids"]})) << "once";
  }
}

TEST(OpenAiCompletions, FillInBetweenPrefixAndSuffix) {
  ScriptedGenerator generator(saying(qwen(), {"return a"}));
  Asking asking{served("gqa").model, generator};
  const Json choice =
      asking.complete({{"prompt", "def f(a):\n  "}, {"suffix", "\n<|fim_middle|>"}}).json()["choices"][0];
  EXPECT_EQ(choice["text"], "return a");
  const auto& prompt = generator.asked[0].prompt;
  // Qwen2.5-Coder's own form; what a client wrote is plain in it.
  EXPECT_EQ(qwen().decode(prompt), "<|fim_prefix|>def f(a):\n  <|fim_suffix|>\n<|fim_middle|><|fim_middle|>");
  EXPECT_EQ(prompt.front(), 151659);
  EXPECT_EQ(prompt.back(), 151660);
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), 151660), 1);
  for (const int end : {151659, 151660, 151661, 151662, 151663, 151664, 151645})
    EXPECT_THAT(generator.asked[0].end_tokens, ::testing::Contains(end));

  ScriptedGenerator other(saying(deepseek(), {"return a"}));
  Asking v3{served("mla").model, other};
  v3.complete({{"prompt", "a"}, {"suffix", "b"}});
  EXPECT_EQ(deepseek().decode(other.asked[0].prompt),
            "<｜begin▁of▁sentence｜><｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>");

  for (const Json& more : {Json{{"echo", true}}, Json{{"prompt", {"a", "b"}}}, Json{{"prompt", {1, 2}}}}) {
    Json body = {{"prompt", "a"}, {"suffix", "b"}};
    body.update(more);
    EXPECT_EQ(asking.complete(body).status, 400) << more;
  }
}

TEST(OpenAiCompletions, RefuseAnInfillWithoutTokensForIt) {
  const Served tiny(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/tiny-qwen");
  ScriptedGenerator generator(saying(qwen(), {"x"}));
  Asking asking{tiny.model, generator};
  const RecordedExchange exchange = asking.complete({{"prompt", "a"}, {"suffix", "b"}});
  EXPECT_EQ(exchange.status, 400);
  EXPECT_EQ(exchange.json()["error"]["param"], "suffix");
  EXPECT_THAT(exchange.json()["error"]["message"].get<std::string>(), HasSubstr("cannot fill in"));
}

TEST(OpenAiCompletions, RefuseTooManyAnswers) {
  ScriptedGenerator generator(saying(qwen(), {"x"}));
  Asking asking{served("gqa").model, generator};
  const Json many(std::vector<std::string>(2049, "a")), some(std::vector<std::string>(100, "a"));
  EXPECT_EQ(asking.complete({{"prompt", many}}).json()["error"]["param"], "prompt");
  EXPECT_EQ(asking.complete({{"prompt", some}, {"n", 21}}).json()["error"]["param"], "n");
  EXPECT_TRUE(generator.asked.empty());
}

TEST(OpenAiTokens, AreTakenAndGivenAsBothServersDo) {
  const Served& v3 = served("mla");
  RequestNotes notes;
  const auto ask = [&](const auto& endpoint, const Json& body) {
    RecordedExchange exchange(body.dump());
    answered(exchange, [&] { endpoint(exchange, v3.model, notes); });
    return exchange;
  };
  const Json vllm = ask(openai::tokenize, {{"prompt", "Hi 🐳<｜User｜>"}, {"return_token_strs", true}}).json();
  const auto tokens = deepseek().encode_with_bos("Hi 🐳<｜User｜>");
  EXPECT_EQ(vllm["tokens"], Json(tokens));
  EXPECT_EQ(vllm["count"], tokens.size());
  EXPECT_EQ(vllm["max_model_len"], 4096);
  EXPECT_EQ(vllm["token_strs"].size(), tokens.size());
  EXPECT_EQ(ask(openai::tokenize, {{"prompt", "Hi"}, {"add_special_tokens", false}}).json()["tokens"],
            Json(deepseek().encode("Hi")));
  EXPECT_EQ(ask(openai::tokenize, {{"content", "Hi"}}).json()["tokens"], Json(deepseek().encode("Hi")));
  EXPECT_EQ(ask(openai::tokenize, {{"content", "<｜User｜>"}, {"parse_special", false}}).json()["tokens"],
            Json(deepseek().encode("<｜User｜>", false)));
  const Json pieces = ask(openai::tokenize, {{"content", "🐳"}, {"with_pieces", true}}).json()["tokens"];
  EXPECT_EQ(pieces[0]["id"], deepseek().encode("🐳")[0]);
  EXPECT_TRUE(pieces[0]["piece"].is_array()) << "bytes of a part of a character";
  const Json chat = ask(openai::tokenize, {{"messages", Json::array({user("Hi")})}}).json();
  EXPECT_EQ(
      chat["tokens"],
      Json(v3.model.prompts.chat({{"messages", Json::array({user("Hi")})}, {"add_generation_prompt", true}}).tokens));
  EXPECT_EQ(ask(openai::detokenize, {{"tokens", deepseek().encode("Hi 🐳")}}).json(),
            Json({{"prompt", "Hi 🐳"}, {"content", "Hi 🐳"}}));
  for (const Json& bad : {Json::object(), Json{{"prompt", 5}}, Json{{"prompt", "a"}, {"content", "a"}},
                          Json{{"prompt", "a"}, {"more", 1}}, Json{{"prompt", "a"}, {"model", "other"}}})
    EXPECT_GE(ask(openai::tokenize, bad).status, 400) << bad;
  for (const Json& bad : {Json::object(), Json{{"tokens", "a"}}, Json{{"tokens", {-1}}}})
    EXPECT_EQ(ask(openai::detokenize, bad).status, 400) << bad;
}

TEST(OpenAiModels, AreTheOneThatIsServed) {
  const ServedModel& model = served("gqa").model;
  RequestNotes notes;
  RecordedExchange list;
  openai::models(list, model);
  EXPECT_EQ(list.json()["object"], "list");
  const Json want = {{"id", "org/model"},
                     {"object", "model"},
                     {"created", 1'700'000'000},
                     {"owned_by", "cachalot"},
                     {"max_model_len", 4096},
                     // For Anthropic's clients.
                     {"type", "model"},
                     {"display_name", "org/model"},
                     {"created_at", "2023-11-14T22:13:20Z"},
                     {"lifecycle", "active"},
                     {"max_input_tokens", 4096},
                     {"max_tokens", 4096}};
  EXPECT_EQ(list.json()["data"], Json::array({want}));
  EXPECT_EQ(list.json()["has_more"], false);
  EXPECT_EQ(list.json()["last_id"], "org/model");
  RecordedExchange one;
  openai::one_model(one, model, "org/model", notes);
  EXPECT_EQ(one.json(), want);
  RecordedExchange other;
  answered(other, [&] { openai::one_model(other, model, "other", notes); });
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.json()["error"]["code"], "model_not_found");
}

TEST(OpenAiModels, MayHaveSeveralNames) {
  ServedModel model = served("gqa").model;
  model.other_names = {"claude-x", "gpt-x"};
  ScriptedGenerator generator(saying(model.text.tokenizer, {"Hi"}));
  Asking asking{model, generator};
  for (const char* name : {"org/model", "claude-x", "gpt-x"}) {
    RequestNotes notes;
    RecordedExchange one;
    openai::one_model(one, model, name, notes);
    EXPECT_EQ(one.json()["id"], name);
    const RecordedExchange answer = asking.chat({{"model", name}, {"messages", Json::array({user("Hello")})}});
    EXPECT_EQ(answer.status, 200) << name;
    EXPECT_EQ(answer.json()["model"], "org/model");
  }
  EXPECT_EQ(asking.chat({{"model", "gpt"}, {"messages", Json::array({user("Hello")})}}).status, 404);
  RecordedExchange list;
  openai::models(list, model);
  EXPECT_EQ(list.json()["data"].size(), 3);
}

// A short body may ask for far more than memory holds.
TEST(OpenAiCompletions, BoundLogprobsOfPromptsThatAreToldManyTimes) {
  ScriptedGenerator generator([](const Request& request) {
    return std::vector<ScriptedAnswer>(static_cast<size_t>(request.answers), ScriptedAnswer{.tokens = {5}});
  });
  Asking asking{served("gqa").model, generator};
  Json body = {{"n", 128}, {"echo", true}, {"logprobs", 20}, {"max_tokens", 1}};
  body["prompt"] = std::vector<int>(2000, 5);
  RecordedExchange refused = asking.complete(body);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.json()["error"]["param"], "logprobs");

  body["prompt"] = std::vector<int>(100, 5);
  RecordedExchange whole = asking.complete(body);
  ASSERT_EQ(whole.status, 200);
  EXPECT_EQ(whole.json()["choices"].size(), 128u);
  EXPECT_EQ(whole.json()["choices"][127]["logprobs"]["tokens"].size(), 101u);

  body["stream"] = true;
  RecordedExchange streamed = asking.complete(body);
  EXPECT_EQ(streamed.events().size(), 128u);
  for (const std::string& part : streamed.parts)
    EXPECT_LT(part.size(), 200'000u) << "events are not held back until all have been put together";
}

}  // namespace
}  // namespace cachalot::testing
