// Responses that are kept: for how long, for whom, in how much memory, and what can be asked of them.
#include "server/responses/store.h"

#include <gmock/gmock.h>

#include <thread>

#include "server/served.h"

namespace cachalot::testing {
namespace {

using responses::KeptResponse;
using responses::ResponseStore;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

KeptResponse response(const std::string& id, size_t bytes = 100, const std::string& caller = "me") {
  return {.id = id,
          .caller = caller,
          .previous = "",
          .json = std::string(bytes, 'x'),
          .input = {},
          .output = {{"msg_of_" + id, "{}"}}};
}

// Time passes when a test says so.
struct Clock {
  std::shared_ptr<std::chrono::steady_clock::time_point> now =
      std::make_shared<std::chrono::steady_clock::time_point>();
  responses::ResponseStoreOptions options(size_t bytes) const {
    return {.bytes = bytes, .lifetime = 3600s, .now = [now = now] { return *now; }};
  }
};

TEST(ResponseStore, GivesBackWhatItsCallerHasKept) {
  ResponseStore store({});
  store.keep(response("a"));
  store.keep(response("b", 100, "you"));
  ASSERT_TRUE(store.find("me", "a"));
  EXPECT_EQ(store.find("me", "a")->json, std::string(100, 'x'));
  EXPECT_EQ(store.find("you", "a"), nullptr) << "another's";
  EXPECT_EQ(store.find("", "a"), nullptr);
  EXPECT_EQ(store.find("me", "c"), nullptr);
  EXPECT_EQ(store.with_item("me", "msg_of_a")->id, "a");
  EXPECT_EQ(store.with_item("you", "msg_of_a"), nullptr);
  EXPECT_FALSE(store.remove("you", "a"));
  EXPECT_TRUE(store.remove("me", "a"));
  EXPECT_FALSE(store.remove("me", "a"));
  EXPECT_EQ(store.with_item("me", "msg_of_a"), nullptr);
  EXPECT_EQ(store.size(), 1u);
}

TEST(ResponseStore, KeepsForAnHourSinceTheLastUse) {
  const Clock clock;
  ResponseStore store(clock.options(1 << 20));
  store.keep(response("a"));
  store.keep(response("b"));
  *clock.now += 3599s;
  EXPECT_TRUE(store.find("me", "a"));
  *clock.now += 1s;
  EXPECT_EQ(store.find("me", "b"), nullptr);
  EXPECT_EQ(store.size(), 1u) << "what is over takes no memory";
  *clock.now += 3598s;
  EXPECT_TRUE(store.with_item("me", "msg_of_a"));
  *clock.now += 3600s;
  EXPECT_FALSE(store.remove("me", "a"));
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(ResponseStore, StaysWithinItsMemory) {
  const size_t one = response("0", 1000).bytes();
  EXPECT_GT(one, 1000u);
  ResponseStore store({.bytes = 10 * one});
  for (int i = 0; i < 10; ++i) store.keep(response(std::to_string(i), 1000));
  EXPECT_EQ(store.size(), 10u);
  EXPECT_EQ(store.bytes(), 10 * one);
  EXPECT_TRUE(store.find("me", "0"));
  store.keep(response("x", 1000));
  EXPECT_EQ(store.find("me", "1"), nullptr) << "what was used least recently goes";
  EXPECT_TRUE(store.find("me", "0"));
  EXPECT_FALSE(store.keep(response("big", 10 * one)));
  EXPECT_EQ(store.find("me", "big"), nullptr) << "what is too big alone is not kept, and nothing goes for it";
  EXPECT_EQ(store.size(), 10u);
  store.keep(response("half", 5 * one));
  EXPECT_LE(store.bytes(), 10 * one);
  EXPECT_EQ(store.size(), 5u);
  ResponseStore none({.bytes = 0});
  EXPECT_FALSE(none.keeps());
  none.keep(response("a", 0));
  EXPECT_EQ(none.size(), 0u);
}

TEST(ResponseStore, IsUsedByManyThreads) {
  ResponseStore store({.bytes = 100'000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&store, t] {
      const std::string me = std::to_string(t);
      for (int i = 0; i < 1000; ++i) {
        const std::string id = me + "_" + std::to_string(i);
        store.keep(response(id, 500, me));
        const auto found = store.find(me, id);  // perhaps it has gone already
        EXPECT_TRUE(!found || found->caller == me);
        store.with_item(me, "msg_of_" + id);
        if (i % 3 == 0) store.remove(me, id);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(store.bytes(), 100'000u);
}

// -- What clients see

struct Server {
  ScriptedGenerator generator{saying(served("gqa").text.tokenizer, {"Hi"})};
  Asking asking{served("gqa").model, generator};

  RecordedExchange ask(const Json& body) { return asking.respond(body); }
  Json respond(const Json& input, const Json& more = Json::object()) {
    Json body = {{"input", input}};
    body.update(more);
    const RecordedExchange exchange = ask(body);
    EXPECT_EQ(exchange.status, 200) << exchange.body;
    return exchange.json();
  }
  RecordedExchange get(const std::string& rest, const std::string& query = "") {
    return kept(responses::get_kept, rest, query);
  }
  RecordedExchange kept(decltype(responses::get_kept) endpoint, const std::string& rest,
                        const std::string& query = "") {
    RecordedExchange exchange;
    exchange.ask_with(query);
    answered(exchange, [&] { endpoint(exchange, asking.responses, asking.caller, rest); });
    return exchange;
  }
  std::string prompt() const { return served("gqa").text.tokenizer.decode(generator.asked.back().prompt); }
  std::vector<std::string> input_ids(const std::string& id, const std::string& query) {
    std::vector<std::string> ids;
    const Json list = get(id + "/input_items", query).json();
    for (const Json& item : list["data"]) ids.push_back(item["id"]);
    EXPECT_EQ(list["first_id"], ids.empty() ? Json(nullptr) : Json(ids.front()));
    EXPECT_EQ(list["last_id"], ids.empty() ? Json(nullptr) : Json(ids.back()));
    return ids;
  }
};

TEST(KeptResponses, SayWhenTheyAreTooBigToBe) {
  ScriptedGenerator generator{saying(served("gqa").text.tokenizer, {"Hi"})};
  Asking asking{
      .model = served("gqa").model, .generator = generator, .responses = responses::ResponseStore({.bytes = 4000})};
  EXPECT_EQ(asking.respond({{"input", "Hello"}}).json()["store"], true);
  EXPECT_EQ(asking.respond({{"input", "Hello" + std::string(2000, '!')}}).json()["store"], false);
}

TEST(KeptResponses, AreGivenAgainAndRemoved) {
  Server server;
  for (const bool stream : {false, true}) {
    RecordedExchange exchange = server.ask({{"input", "Hello"}, {"stream", stream}, {"metadata", {{"a", "b"}}}});
    const size_t last = exchange.body.rfind("data: {");
    const Json response =
        stream ? Json::parse(exchange.body.substr(last + 6, exchange.body.find("\n", last) - last - 6))["response"]
               : exchange.json();
    const std::string id = response["id"];
    EXPECT_EQ(server.get(id).json(), response);
    EXPECT_EQ(server.get(id, "include[]=reasoning.encrypted_content&stream=false").status, 200);
    EXPECT_EQ(server.get(id, "stream=true").json()["error"]["param"], "stream");
    EXPECT_EQ(server.get(id, "more=1").json()["error"]["param"], "more");
    EXPECT_EQ(server.kept(responses::post_to_kept, id + "/cancel").status, 400);
    EXPECT_EQ(server.kept(responses::post_to_kept, id + "/other").status, 404);
    server.asking.caller.name = "another";
    EXPECT_EQ(server.get(id).status, 404);
    EXPECT_EQ(server.kept(responses::delete_kept, id).status, 404);
    server.asking.caller.name = "somebody";
    EXPECT_EQ(server.kept(responses::delete_kept, id).json(),
              Json({{"id", id}, {"object", "response"}, {"deleted", true}}));
    EXPECT_EQ(server.kept(responses::delete_kept, id).status, 404);
    EXPECT_EQ(server.get(id).status, 404);
    EXPECT_EQ(server.get(id + "/input_items").status, 404);
    EXPECT_EQ(server.kept(responses::post_to_kept, id + "/cancel").status, 404);
  }
  const std::string id = server.respond("Hello", {{"store", false}})["id"];
  EXPECT_EQ(server.get(id).status, 404);
}

TEST(KeptResponses, TellWhatWasSaidToThem) {
  Server server;
  const Json items = {
      {{"role", "user"}, {"content", "a"}},
      {{"role", "assistant"}, {"content", "b"}, {"id", "msg_b"}},
      {{"type", "function_call"}, {"id", "fc_c"}, {"call_id", "c"}, {"name", "f"}, {"arguments", "{}"}},
      {{"type", "function_call_output"}, {"call_id", "c"}, {"output", "d"}}};
  const std::string id = server.respond(items)["id"];
  const auto all = server.input_ids(id, "order=asc");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1], "msg_b");
  EXPECT_EQ(all[2], "fc_c");
  EXPECT_THAT(server.input_ids(id, ""), ElementsAre(all[3], "fc_c", "msg_b", all[0])) << "the last is the first";
  EXPECT_THAT(server.input_ids(id, "order=asc&limit=2"), ElementsAre(all[0], "msg_b"));
  EXPECT_THAT(server.input_ids(id, "order=asc&limit=2&after=msg_b"), ElementsAre("fc_c", all[3]));
  EXPECT_THAT(server.input_ids(id, "order=asc&after=" + all[3]), ElementsAre());
  const Json list = server.get(id + "/input_items", "order=asc&limit=1").json();
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["has_more"], true);
  EXPECT_EQ(server.get(id + "/input_items", "limit=4").json()["has_more"], false);
  EXPECT_EQ(list["data"][0]["type"], "message");
  EXPECT_EQ(list["data"][0]["status"], "completed");
  EXPECT_EQ(list["data"][0]["content"], Json::array({{{"type", "input_text"}, {"text", "a"}}}));
  for (const char* query : {"limit=0", "limit=101", "limit=x", "limit=", "order=up", "after=nothing", "before=x"}) {
    const std::string name(query, std::string_view(query).find('='));
    EXPECT_EQ(server.get(id + "/input_items", query).json()["error"]["param"], name) << query;
  }
}

TEST(KeptResponses, GoOn) {
  Server server;
  const Json first = server.respond("One", {{"instructions", "Be brief."}});
  const Json second = server.respond("Two", {{"previous_response_id", first["id"]}});
  EXPECT_EQ(second["previous_response_id"], first["id"]);
  EXPECT_EQ(second["instructions"], nullptr);
  server.respond("Three", {{"previous_response_id", second["id"]}, {"instructions", "Be long."}});
  const auto said = [](const char* role, const char* text) { return Json{{"role", role}, {"content", text}}; };
  const Json messages = {said("system", "Be long."), said("user", "One"),     said("assistant", "Hi"),
                         said("user", "Two"),        said("assistant", "Hi"), said("user", "Three")};
  const std::string prompt = server.prompt();
  EXPECT_EQ(server.asking.chat({{"messages", messages}}).status, 200);
  EXPECT_EQ(prompt, server.prompt());
  EXPECT_THAT(prompt, Not(HasSubstr("Be brief.")));

  // Two may go on from one.
  server.respond("Other", {{"previous_response_id", first["id"]}});
  EXPECT_THAT(server.prompt(), Not(HasSubstr("Two")));

  EXPECT_EQ(server.kept(responses::delete_kept, first["id"]).status, 200);
  const Json error = server.ask({{"input", "x"}, {"previous_response_id", second["id"]}}).json()["error"];
  EXPECT_EQ(error["code"], "previous_response_not_found");
  EXPECT_EQ(error["param"], "previous_response_id");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(first["id"].get<std::string>()))
      << "the one that is gone";
  EXPECT_EQ(server.get(second["id"]).status, 200);
}

TEST(KeptResponses, AreNotGoneOnFromByOthers) {
  Server server;
  const Json first = server.respond("One");
  const Json item = {{"type", "item_reference"}, {"id", first["output"][0]["id"]}};
  server.asking.caller.name = "another";
  const RecordedExchange exchange = server.ask({{"input", "x"}, {"previous_response_id", first["id"]}});
  EXPECT_EQ(exchange.status, 400);
  EXPECT_EQ(exchange.json()["error"]["code"], "previous_response_not_found");
  EXPECT_EQ(server.ask({{"input", {item}}}).json()["error"]["param"], "input[0].id");
}

TEST(KeptResponses, AreReferredToByTheirItems) {
  Server server;
  const Json first = server.respond("One");
  const Json item = {{"type", "item_reference"}, {"id", first["output"][0]["id"]}};
  const Json one = {{"role", "user"}, {"content", "One"}}, two = {{"role", "user"}, {"content", "Two"}};
  const Json second = server.respond({one, item, two});
  const std::string prompt = server.prompt();
  server.respond("Two", {{"previous_response_id", first["id"]}});
  EXPECT_EQ(prompt, server.prompt());
  // What was said to a response is kept as it was meant.
  server.kept(responses::delete_kept, first["id"]);
  server.respond("Three", {{"previous_response_id", second["id"]}});
  EXPECT_THAT(server.prompt(), HasSubstr("assistant\nHi<|im_end|>"));
}

// What takes a sender a few bytes must not take the server gigabytes.
TEST(KeptResponses, AreReferredToInBounds) {
  Server server;
  const Json message = {
      {"type", "message"}, {"id", "msg_big"}, {"role", "assistant"}, {"content", std::string(10 << 20, 'x')}};
  server.asking.responses.keep({.id = "resp_big",
                                .caller = "somebody",
                                .previous = "",
                                .json = "{}",
                                .input = {},
                                .output = {{"msg_big", message.dump()}}});
  const Json error = server.ask({{"input", std::vector<Json>(65'000, {{"id", "msg_big"}})}}).json()["error"];
  EXPECT_EQ(error["param"], "input[6].id");
}

TEST(KeptResponses, AreNotThereWhereNoneIsKept) {
  Server server;
  ResponseStore none({.bytes = 0});
  const auto ask = [&](const Json& body) {
    RecordedExchange e = server.asking.exchange(body);
    answered(e, [&] {
      responses::create(e, server.asking.model, server.generator, none, server.asking.caller, server.asking.notes);
    });
    return e;
  };
  EXPECT_EQ(ask({{"input", "Hello"}}).json()["store"], false);
  EXPECT_EQ(ask({{"input", "Hello"}, {"store", false}}).status, 200);
  EXPECT_EQ(ask({{"input", "Hello"}, {"store", true}}).json()["error"]["param"], "store");
  EXPECT_EQ(ask({{"input", "Hello"}, {"previous_response_id", "resp_1"}}).json()["error"]["param"],
            "previous_response_id");
  EXPECT_EQ(ask({{"input", {{{"type", "item_reference"}, {"id", "msg_1"}}}}}).json()["error"]["param"],
            "input[0].id");
}

}  // namespace
}  // namespace cachalot::testing
