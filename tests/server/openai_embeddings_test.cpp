// /v1/embeddings: every input's vector in its place, as numbers and in base64, cut and of length 1 as asked for.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "server/served.h"
#include "session/embedding.h"

namespace cachalot::testing {
namespace {

using ::testing::HasSubstr;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }
const Tokenizer& deepseek() { return served("mla").text.tokenizer; }

// By the alphabet of RFC 4648.
std::string decoded(const std::string& text) {
  static const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(letters.find(c));
    if ((count += 6) < 8) continue;
    bytes += static_cast<char>(bits >> (count -= 8));
  }
  return bytes;
}

std::vector<float> floats(const Json& embedding) {
  if (embedding.is_array()) return embedding.get<std::vector<float>>();
  const std::string bytes = decoded(embedding.get<std::string>());
  std::vector<float> numbers(bytes.size() / sizeof(float));
  EXPECT_EQ(bytes.size() % sizeof(float), 0u);
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(float));
  return numbers;
}

struct Embedding {
  ScriptedGenerator generator{saying(qwen(), {"never said"})};
  Asking asking{served("gqa").model, generator};

  Json error(const Json& body, int status = 400) {
    const RecordedExchange exchange = asking.embed(body);
    EXPECT_EQ(exchange.status, status) << body << exchange.body;
    return exchange.json()["error"];
  }
};

TEST(OpenAiEmbeddings, AreTheVectorOfEachInputInItsPlace) {
  const std::vector<std::string> texts = {"one", "two 你好 <|im_end|>", "one", "three"};
  Json ids = Json::array();
  for (const auto& text : texts) ids.push_back(qwen().encode(text));
  for (const int room : {1 << 20, 1, 3})
    for (const Json& input : {Json(texts), ids}) {
      Embedding e;
      e.generator.room = room;
      const Json json = e.asking.embed({{"input", input}, {"normalize", false}}).json();
      EXPECT_EQ(json["object"], "list");
      EXPECT_EQ(json["model"], "org/model");
      size_t tokens = 0;
      ASSERT_EQ(json["data"].size(), 4u);
      for (size_t i = 0; i < 4; ++i) {
        const auto prompt = ids[i].get<std::vector<int>>();
        tokens += prompt.size();
        EXPECT_EQ(json["data"][i]["object"], "embedding");
        EXPECT_EQ(json["data"][i]["index"], i);
        EXPECT_EQ(floats(json["data"][i]["embedding"]), scripted_embedding(prompt))
            << "special tokens are recognised";
        EXPECT_EQ(e.generator.asked[i].embedding, Pooling::last);
        EXPECT_EQ(e.generator.asked[i].caller, "somebody");
        EXPECT_EQ(e.generator.asked[i].salt, "salt");
      }
      EXPECT_EQ(json["usage"], (Json{{"prompt_tokens", tokens}, {"total_tokens", tokens}}));
      EXPECT_EQ(e.asking.notes.prompts, 4);
      EXPECT_EQ(e.asking.notes.prompt_tokens, static_cast<int>(tokens));
      EXPECT_EQ(e.asking.notes.finish, "stop");
      EXPECT_EQ(e.asking.notes.model, "org/model");
    }
}

TEST(OpenAiEmbeddings, AreOneForATextOrAListOfTokens) {
  Embedding e;
  for (const Json& input : {Json("Hi"), Json(qwen().encode("Hi"))}) {
    const Json json = e.asking.embed({{"input", input}, {"normalize", false}}).json();
    ASSERT_EQ(json["data"].size(), 1u);
    EXPECT_EQ(floats(json["data"][0]["embedding"]), scripted_embedding(qwen().encode("Hi")));
  }
}

TEST(OpenAiEmbeddings, AreTheSameNumbersInBase64) {
  Embedding e;
  for (int dimensions = 1; dimensions <= kScriptedWidth; ++dimensions) {
    Json body = {{"input", "Hi there"}, {"dimensions", dimensions}};
    const Json numbers = e.asking.embed(body).json()["data"][0]["embedding"];
    body["encoding_format"] = "base64";
    const Json text = e.asking.embed(body).json()["data"][0]["embedding"];
    ASSERT_TRUE(numbers.is_array() && text.is_string());
    EXPECT_EQ(text.get<std::string>().size() % 4, 0u);
    EXPECT_EQ(floats(text), floats(numbers));
    EXPECT_EQ(floats(text), told_embedding(scripted_embedding(qwen().encode("Hi there")), dimensions, true));
  }
}

TEST(OpenAiEmbeddings, AreMadeAsTheCheckpointSaysUnlessTheRequestDoes) {
  ServedModel model = served("gqa").model;
  model.embedding = {.pooling = Pooling::mean, .normalized = false, .said_by = "1_Pooling", .refusal = {}};
  ScriptedGenerator generator(saying(qwen(), {"x"}));
  Asking asking{model, generator};
  const auto pooled = scripted_embedding(qwen().encode("Hi"));
  const auto vector = [&](Json more) {
    more["input"] = "Hi";
    const RecordedExchange exchange = asking.embed(more);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return floats(exchange.json()["data"][0]["embedding"]);
  };
  EXPECT_EQ(vector(Json::object()), pooled);
  EXPECT_EQ(generator.asked.back().embedding, Pooling::mean);
  for (const Json& whole : {Json{{"normalize", true}}, Json{{"embd_normalize", 2}}, Json{{"use_activation", true}}})
    EXPECT_EQ(vector(whole), told_embedding(pooled, {}, true));
  EXPECT_EQ(vector({{"embd_normalize", -1}}), pooled);
  vector({{"pooling", "last"}});
  EXPECT_EQ(generator.asked.back().embedding, Pooling::last);
  vector({{"pooling", "cls"}});
  EXPECT_EQ(generator.asked.back().embedding, Pooling::first);
  EXPECT_EQ(generator.asked.back().computed_from, std::nullopt);
  vector({{"cache_prompt", false}, {"cache_salt", "a"}});
  EXPECT_EQ(generator.asked.back().computed_from, 0);
  EXPECT_EQ(generator.asked.back().salt, "salt\na");

  model.embedding.refusal = Error("the module 'Dense' is not supported").in("modules.json");
  const RecordedExchange exchange = asking.embed({{"input", "Hi"}});
  EXPECT_EQ(exchange.status, 400);
  EXPECT_THAT(exchange.json()["error"]["message"].get<std::string>(), HasSubstr("modules.json: the module 'Dense'"));
  EXPECT_EQ(exchange.json()["error"]["code"], "embeddings_unsupported");
}

TEST(OpenAiEmbeddings, HaveTheTokensAroundATextThatTheCheckpointAsksFor) {
  ScriptedGenerator generator(saying(deepseek(), {"x"}));
  Asking asking{served("mla").model, generator};
  asking.embed({{"input", Json::array({"Hi", ""})}});
  asking.embed({{"input", "Hi"}, {"add_special_tokens", false}});
  EXPECT_EQ(generator.asked.at(0).prompt, deepseek().encode_with_bos("Hi"));
  EXPECT_EQ(generator.asked.at(1).prompt, std::vector<int>{*deepseek().bos()});
  EXPECT_EQ(generator.asked.at(2).prompt, deepseek().encode("Hi"));
}

TEST(OpenAiEmbeddings, AreRefusedOfWhatIsTooLongOrTooMuch) {
  Embedding e;
  const int context = served("gqa").model.context;
  const Json full = std::vector<int>(static_cast<size_t>(context), 5);
  EXPECT_EQ(e.asking.embed({{"input", full}}).status, 200) << "no answer needs room";
  Json longer = full;
  longer.push_back(5);
  std::string text;
  for (int i = 0; i < context; ++i) text += "word and ";
  for (const Json& input : {longer, Json::array({Json::array({1}), longer}), Json(text), Json(text + text + text)}) {
    const Json error = e.error({{"input", input}});
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["param"], "input");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(std::to_string(context)));
  }
  EXPECT_EQ(e.error({{"input", Json(std::vector<std::string>(2049, "a"))}})["param"], "input");
  EXPECT_EQ(e.error(Json::object())["param"], "input");
  EXPECT_EQ(e.asking.embed({{"input", std::vector<std::string>(2048, "a")}}).json()["data"].size(), 2048u);
}

TEST(OpenAiEmbeddings, EndTogetherWhenOneOfThemFails) {
  const auto failing = [](const ScriptedAnswer& answer, int status) {
    ScriptedGenerator generator([&](const Request& request) {
      return std::vector<ScriptedAnswer>{request.prompt.size() > 1 ? answer : ScriptedAnswer()};
    });
    Asking asking{served("gqa").model, generator};
    const RecordedExchange exchange = asking.embed({{"input", Json::array({"a", "one two three", "b"})}});
    EXPECT_EQ(exchange.status, status) << exchange.body;
    EXPECT_TRUE(exchange.json().contains("error"));
    EXPECT_EQ(generator.running(), 0u);
  };
  failing({.tokens = {}, .error = "the arithmetic is broken"}, 500);
  failing({.tokens = {}, .error = kOutOfMemory}, 503);
  failing({.tokens = {}, .error = {}, .cancelled = true}, 503);
}

}  // namespace
}  // namespace cachalot::testing
