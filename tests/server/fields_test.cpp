// Every field of the table: what it takes, what it refuses, and what the docs say of it.
#include "server/anthropic/fields.h"
#include "server/openai/fields.h"
#include "server/responses/fields.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/mapped_file.h"
#include "server/served.h"

namespace cachalot::testing {
namespace {

using dialect::FieldFacts;
using dialect::Use;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& qwen() { return served("gqa").text.tokenizer; }

// A table, as far as it does not matter into what it is read.
struct Table {
  std::string heading;  // in docs/serving.md
  std::vector<FieldFacts> fields;
  std::vector<bool> reads;
};
template <class Into>
Table table(const std::string& heading, std::span<const dialect::Field<Into>> fields) {
  Table table{heading, {}, {}};
  for (const auto& field : fields) {
    table.fields.push_back(field);
    table.reads.push_back(field.read != nullptr);
  }
  return table;
}

const Table& sampling() {
  static const Table t = table("## Fields of every answer", dialect::sampling_fields());
  return t;
}
const Table& conversation() {
  static const Table t = table("## Fields of every conversation", dialect::conversation_fields());
  return t;
}
const Table& choices() {
  static const Table t = table("## Fields of chat and completions", openai::choice_fields());
  return t;
}
const Table& chat() {
  static const Table t = table("## Fields of chat", openai::chat_fields());
  return t;
}
const Table& completions() {
  static const Table t = table("## Fields of completions", openai::completion_fields());
  return t;
}

const Table& embeddings() {
  static const Table t = table("## Fields of embeddings", openai::embedding_fields());
  return t;
}

const Table& response() {
  static const Table t = table("## Fields of responses", responses::response_fields());
  return t;
}

const Table& message() {
  static const Table t = table("## Fields of messages", anthropic::message_fields());
  return t;
}

// An endpoint, the least that it must be asked, and its tables: of several that have a field, the first is read.
struct Endpoint {
  std::string name;
  Json body;
  RecordedExchange (Asking::*ask)(const Json& body);
  std::vector<const Table*> tables;
};
const Endpoint kChat{"chat",
                     {{"messages", Json::array({user("Hello")})}},
                     &Asking::chat,
                     {&sampling(), &conversation(), &choices(), &chat()}};
const Endpoint kCompletions{
    "completions", {{"prompt", "Hello"}}, &Asking::complete, {&sampling(), &choices(), &completions()}};

const Endpoint kEmbeddings{"embeddings", {{"input", "Hello"}}, &Asking::embed, {&embeddings()}};

const Endpoint kResponses{
    "responses", {{"input", "Hello"}}, &Asking::respond, {&sampling(), &conversation(), &response()}};

const Endpoint kMessages{"messages",
                         {{"messages", Json::array({user("Hello")})}, {"max_tokens", 10}},
                         &Asking::message,
                         {&message(), &sampling(), &conversation()}};

const std::vector<const Endpoint*> kEndpoints = {&kChat, &kCompletions, &kEmbeddings, &kResponses, &kMessages};

std::vector<const Table*> all_tables() {
  return {&sampling(), &conversation(), &choices(), &chat(), &completions(), &embeddings(), &response(), &message()};
}

// docs/fields.md
std::string documented() {
  std::string text =
      "# Fields of requests\n\n"
      "Written from the tables in the code (with CACHALOT_WRITE_FIELDS=1 a test writes it anew); "
      "[serving.md](serving.md) "
      "says what holds for all.\n";
  for (const Table* table : all_tables()) {
    text += "\n" + table->heading + "\n\n| field | | |\n|---|---|---|\n";
    for (const FieldFacts& field : table->fields) {
      const char* use = field.use == Use::honoured  ? "honoured"
                        : field.use == Use::refused ? "refused"
                                                    : "without effect";
      text += "| `" + std::string(field.name) + "` | " + use + " | " + std::string(field.about) + " |\n";
    }
  }
  return text;
}

TEST(Fields, AreInTheDocsAsTheyAreInTheCode) {
  const auto path = std::filesystem::path(CACHALOT_SOURCE_DIR) / "docs/fields.md";
  if (std::getenv("CACHALOT_WRITE_FIELDS")) std::ofstream(path) << documented();
  EXPECT_EQ(read_text_file(path), documented());
}

TEST(Fields, HaveOneMeaningEach) {
  for (const Endpoint* endpoint : kEndpoints) {
    std::set<std::string_view> names;
    for (const Table* table : endpoint->tables)
      for (size_t i = 0; i < table->fields.size(); ++i) {
        const FieldFacts& field = table->fields[i];
        const bool own = endpoint == &kMessages && field.name == "thinking";  // means more there than elsewhere
        EXPECT_TRUE(names.insert(field.name).second || own) << field.name;
        EXPECT_EQ(!table->reads[i], field.use == Use::refused) << field.name;
      }
  }
}

struct Endpoints {
  ScriptedGenerator generator{saying(qwen(), {"Hi"})};
  Asking asking{served("gqa").model, generator};

  RecordedExchange ask(const Endpoint& endpoint, const Json& more) {
    Json body = endpoint.body;
    body.update(more);
    return (asking.*endpoint.ask)(body);
  }
};

void try_field(const Endpoint& endpoint, const FieldFacts& field) {
  SCOPED_TRACE(std::string(field.name) + " of " + endpoint.name);
  Endpoints server;
  const std::string name(field.name);
  for (const Json& value : Json::parse(field.taken)) {
    const RecordedExchange exchange = server.ask(endpoint, {{name, value}});
    EXPECT_EQ(exchange.status, 200) << value << exchange.body;
  }
  const size_t taken = server.generator.asked.size();
  const bool needed = endpoint.body.contains(name);
  EXPECT_EQ(server.ask(endpoint, {{name, nullptr}}).status, needed ? 400 : 200) << "null is absent";
  const size_t with_null = server.generator.asked.size();
  const auto refused = Json::parse(field.refused);
  EXPECT_FALSE(refused.empty());
  for (const Json& value : refused) {
    const RecordedExchange exchange = server.ask(endpoint, {{name, value}});
    EXPECT_EQ(exchange.status, name == "model" && value == "" ? 404 : 400) << value;
    const Json error = exchange.json()["error"];
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(name)) << value;
    EXPECT_TRUE(error["type"].is_string());
    if (&endpoint == &kMessages) continue;  // says no more
    EXPECT_THAT(error["param"].get<std::string>(), StartsWith(name)) << value;
    EXPECT_TRUE(error.contains("code"));
  }
  EXPECT_EQ(server.generator.asked.size(), with_null) << "what is refused was run";
  EXPECT_GE(taken, Json::parse(field.taken).size());
}

TEST(Fields, AreTakenOrRefusedByName) {
  for (const Endpoint* endpoint : kEndpoints) {
    std::set<std::string_view> tried;
    for (const Table* table : endpoint->tables)
      for (const FieldFacts& field : table->fields)
        if (tried.insert(field.name).second) try_field(*endpoint, field);
  }
}

TEST(Fields, ThatNobodyKnowsAreRefused) {
  Endpoints server;
  const Json error = server.ask(kChat, {{"temprature", 1}}).json()["error"];
  EXPECT_EQ(error["param"], "temprature");
  EXPECT_EQ(error["code"], "unknown_field");
  EXPECT_THAT(server.ask(kChat, {{"suffix", "x"}}).json()["error"]["message"].get<std::string>(),
              HasSubstr("/v1/completions"));
  EXPECT_EQ(server.ask(kCompletions, {{"messages", Json::array()}}).status, 400);
}

TEST(Fields, ReachTheEngine) {
  Endpoints server;
  const auto asked = [&](const Json& more) {
    EXPECT_EQ(server.ask(kCompletions, more).status, 200) << more;
    return server.generator.asked.back();
  };
  EXPECT_EQ(asked({{"temperature", 0.7}}).sampling.temperature, 0.7);
  EXPECT_EQ(asked({{"top_p", 0.5}}).sampling.top_p, 0.5);
  EXPECT_EQ(asked({{"top_k", 7}}).sampling.top_k, 7);
  EXPECT_EQ(asked({{"top_k", -1}}).sampling.top_k, 0);
  EXPECT_EQ(asked({{"min_p", 0.25}}).sampling.min_p, 0.25);
  EXPECT_EQ(asked({{"presence_penalty", 1}}).sampling.presence_penalty, 1);
  EXPECT_EQ(asked({{"frequency_penalty", -1}}).sampling.frequency_penalty, -1);
  EXPECT_EQ(asked({{"repetition_penalty", 1.5}}).sampling.repeat_penalty, 1.5);
  EXPECT_EQ(asked({{"repeat_penalty", 1.5}}).sampling.repeat_penalty, 1.5);
  EXPECT_EQ(asked({{"logit_bias", {{"5", -100}, {"151645", 2}}}}).sampling.logit_bias,
            (std::vector<std::pair<int32_t, float>>{{5, -100}, {151645, 2}}));
  EXPECT_EQ(asked({{"seed", -1}}).sampling.seed, UINT64_MAX);
  EXPECT_EQ(asked({{"seed", UINT64_MAX}}).sampling.seed, UINT64_MAX);
  EXPECT_NE(asked(Json::object()).sampling.seed, asked(Json::object()).sampling.seed) << "drawn at random";
  EXPECT_EQ(asked({{"max_tokens", 7}, {"n_predict", 5}}).max_tokens, 5);
  EXPECT_EQ(asked({{"max_tokens", -1}}).max_tokens, std::nullopt);
  EXPECT_EQ(asked({{"n", 5}}).answers, 5);
  EXPECT_EQ(asked({{"logprobs", 3}}).logprobs, 3);
  EXPECT_EQ(asked({{"ignore_eos", true}, {"stop_token_ids", {7}}}).end_tokens, std::vector<int32_t>{7});
  EXPECT_EQ(asked({{"stop_token_ids", {7}}}).end_tokens.size(), served("gqa").defaults.end_tokens.size() + 1);
  EXPECT_EQ(asked({{"cache_salt", "a"}}).salt, "salt\na");
  EXPECT_EQ(asked({{"cache_prompt", false}}).computed_from, 0);
  EXPECT_EQ(asked({{"cache_prompt", true}}).computed_from, std::nullopt);
  EXPECT_EQ(server.ask(kCompletions, {{"stop_token_ids", {13048}}}).json()["choices"][0]["stop_reason"], 13048)
      << "the token of 'Hi'";
}

TEST(Fields, SayTogetherWhatNoneSaysAlone) {
  Endpoints server;
  const auto param = [&](const Endpoint& endpoint, const Json& more) {
    const RecordedExchange exchange = server.ask(endpoint, more);
    EXPECT_EQ(exchange.status, 400) << more;
    return exchange.json()["error"]["param"];
  };
  EXPECT_EQ(param(kChat, {{"stream_options", {{"include_usage", true}}}}), "stream_options");
  EXPECT_EQ(param(kChat, {{"top_logprobs", 5}}), "top_logprobs");
  EXPECT_EQ(param(kChat, {{"min_tokens", 5}, {"max_tokens", 4}}), "min_tokens");
  EXPECT_EQ(param(kChat, {{"max_tokens", 0}}), "max_tokens");
  EXPECT_EQ(param(kChat, {{"min_tokens", 1}, {"allowed_token_ids", {5, 6}}, {"stop_token_ids", {6, 5}}}),
            "min_tokens");
  EXPECT_EQ(param(kCompletions, {{"best_of", 3}, {"n", 2}}), "best_of");
  EXPECT_EQ(server.ask(kCompletions, {{"best_of", 2}, {"n", 2}}).status, 200);
}

TEST(OpenAiBodies, AreRefusedUnlessTheyAreJsonObjects) {
  ScriptedGenerator generator(saying(qwen(), {"Hi"}));
  for (const std::string& body : {std::string(), std::string("{"), std::string("[]"), std::string("5"),
                                  "{\"messages\": " + std::string(100, '[') + std::string(100, ']') + "}",
                                  std::string("{\"a\": \"\xff\"}"), std::string("{}\0{}", 5)}) {
    RecordedExchange exchange(body);
    RequestNotes notes;
    answered(exchange, [&] { openai::chat_completions(exchange, served("gqa").model, generator, {}, notes); });
    EXPECT_EQ(exchange.status, 400) << body;
    EXPECT_EQ(exchange.json()["error"]["type"], "invalid_request_error");
  }
}

// What takes a sender no time must not take the server minutes.
TEST(OpenAiBodies, OfManyPartsAreReadInTime) {
  Endpoints server;
  const auto start = std::chrono::steady_clock::now();
  Json list = Json::array(), object = Json::object();
  for (int i = 0; i < 300'000; ++i) list.push_back(Json::object());
  EXPECT_EQ(server.ask(kChat, {{"messages", list}}).json()["error"]["param"], "messages[0].role");

  for (int i = 0; i < 2048; ++i) object[std::to_string(i)] = i;
  EXPECT_EQ(server.ask(kChat, {{"metadata", object}}).status, 200);
  object["2048"] = 2048;
  EXPECT_THAT(server.ask(kChat, {{"metadata", object}}).body, HasSubstr("more than 2048 members"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace cachalot::testing
