#include "server/router.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "base/error.h"
#include "server/generator.h"
#include "server/json_body.h"

namespace cachalot {
namespace {

using http::Headers, http::Response;
using nlohmann::json;
using testing::AllOf, testing::HasSubstr, testing::IsEmpty, testing::MatchesRegex, testing::Not, testing::SizeIs;

// What a handler says, kept.
class Kept final : public http::Exchange {
 public:
  Kept(std::string method, std::string path, Headers headers = {}, std::string body = {}) {
    request_.method = std::move(method), request_.path = std::move(path), request_.body = std::move(body);
    request_.headers = std::move(headers), request_.remote = "192.0.2.7";
  }
  const http::Request& request() const override { return request_; }
  void send(const Response& response) override { begun_ = true, answer = response; }
  void begin(const Response& head) override { begun_ = true, answer = head; }
  void write(std::string_view part) override { answer.body += part; }
  News wait(const Wakeup&, std::chrono::milliseconds) override { return News::timeout; }

  std::string header(std::string_view name) const {
    const std::string* value = answer.headers.find(name);
    return value ? *value : "";
  }
  std::string error(const char* field = "message") const {
    const json value = json::parse(answer.body).at("error").at(field);
    return value.is_null() ? "null" : value.get<std::string>();
  }
  Response answer = {0};

 private:
  http::Request request_;
};

class RouterTest : public testing::Test {
 protected:
  RouterTest() { health_.ready(); }

  // A router of the options with routes that tests need.
  Router& router() {
    if (router_) return *router_;
    options_.log = [this](std::string_view line) { log_.push_back(json::parse(line)), lines_ += line; };
    router_.emplace(std::move(options_), health_);
    const auto echo = [](Call& call) { call.http.send({200, call.caller + "|" + call.rest}); };
    router_->add({.method = "POST", .path = "/v1/chat/completions", .handler = [this](Call& call) { chat_(call); }});
    router_->add({.method = "GET", .path = "/v1/models", .handler = echo});
    router_->add({.method = "GET", .path = "/v1/models/*", .handler = echo});
    router_->add({.method = "DELETE", .path = "/v1/models/*", .handler = echo});
    router_->add(
        {.method = "GET", .path = "/metrics", .handler = echo, .open = true, .needs_model = false, .logged = false});
    return *router_;
  }
  Kept ask(std::string method, std::string path, Headers headers = {}, std::string body = {}) {
    Kept exchange(std::move(method), std::move(path), std::move(headers), std::move(body));
    router().handle(exchange);
    return exchange;
  }
  Kept post(Headers headers = {}, std::string body = {}) {
    return ask("POST", "/v1/chat/completions", std::move(headers), std::move(body));
  }

  RouterOptions options_;
  Health health_;
  CallHandler chat_ = [](Call& call) { call.http.send({200, "said"}); };
  std::optional<Router> router_;
  std::vector<json> log_;
  std::string lines_;
};

TEST_F(RouterTest, PathsLeadToHandlers) {
  EXPECT_EQ(ask("GET", "/v1/models").answer.body, "|");
  EXPECT_EQ(ask("HEAD", "/v1/models").answer.status, 200);
  EXPECT_EQ(ask("GET", "/v1/models/a").answer.body, "|a");
  EXPECT_EQ(ask("GET", "/v1/models/Qwen%2fQwen3%20x/%zz%4").answer.body, "|Qwen/Qwen3 x/%zz%4");
  EXPECT_EQ(post().answer.body, "said");
}

TEST_F(RouterTest, AWrongPathIsNamedAndTheRightOneGuessed) {
  const Kept none = ask("POST", "/v1/chat");
  EXPECT_EQ(none.answer.status, 404);
  EXPECT_EQ(none.answer.content_type, "application/json");
  EXPECT_EQ(none.error(), "There is no '/v1/chat' here.");
  EXPECT_EQ(none.error("type"), "invalid_request_error");
  EXPECT_EQ(none.error("param"), "null");
  for (const char* path : {"/", "/v1", "/v1/"})
    EXPECT_THAT(ask("GET", path).error(), HasSubstr("Did you mean '/v1/models'?")) << path;
  for (const char* path : {"/chat/completions", "/v1//chat/completions", "/v1/v1/chat/completions",
                           "//v1/chat/completions", "/v1/chat/completions/"})
    EXPECT_THAT(ask("POST", path).error(), HasSubstr("Did you mean '/v1/chat/completions'?")) << path;
  EXPECT_THAT(ask("GET", "/v1/health").error(), HasSubstr("Did you mean '/health'?"));
  EXPECT_EQ(ask("GET", "/v1/models/").answer.status, 404);
}

TEST_F(RouterTest, AWrongMethodIsToldTheRightOnes) {
  const Kept got = ask("GET", "/v1/chat/completions");
  EXPECT_EQ(got.answer.status, 405);
  EXPECT_EQ(got.header("Allow"), "POST, OPTIONS");
  EXPECT_THAT(got.error(), AllOf(HasSubstr("'/v1/chat/completions'"), HasSubstr("'GET'")));
  EXPECT_EQ(ask("PUT", "/v1/models/a").header("Allow"), "GET, HEAD, DELETE, OPTIONS");
  const Kept options = ask("OPTIONS", "/v1/models");
  EXPECT_EQ(options.answer.status, 204);
  EXPECT_EQ(options.header("Allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(ask("OPTIONS", "/nowhere").answer.status, 404);
  EXPECT_EQ(ask("OPTIONS", "*").answer.status, 204);
}

TEST_F(RouterTest, WithoutAKeyNobodyComesInWhereKeysAreAskedFor) {
  options_.keys = Keys::parse("sk-one Anna\n", "keys");
  for (const Headers& headers :
       {Headers{}, Headers{{"Authorization", "Bearer sk-two"}}, Headers{{"x-api-key", ""}}}) {
    const Kept refused = post(headers);
    EXPECT_EQ(refused.answer.status, 401);
    EXPECT_EQ(refused.error("code"), "invalid_api_key");
    EXPECT_EQ(refused.header("WWW-Authenticate"), "Bearer");
    EXPECT_THAT(refused.answer.body, Not(HasSubstr("sk-")));
  }
  EXPECT_EQ(ask("GET", "/v1/models", {{"Authorization", "Bearer sk-one"}}).answer.body, "Anna|");
  EXPECT_EQ(ask("GET", "/v1/models", {{"x-api-key", "sk-one"}}).answer.body, "Anna|");
  for (const char* open : {"/health", "/health/live", "/health/ready", "/metrics"})
    EXPECT_EQ(ask("GET", open).answer.status, 200);
  EXPECT_EQ(log_.back().at("caller"), "Anna");
  EXPECT_THAT(lines_, Not(HasSubstr("sk-")));
}

TEST_F(RouterTest, UntilTheModelIsThereAndOnceTheServerEndsThereIsNoWork) {
  Health health;
  RouterOptions options;
  Router router(std::move(options), health);
  int handled = 0;
  router.add({.method = "POST", .path = "/work", .handler = [&](Call& call) { ++handled, call.http.send({}); }});
  const auto ask = [&](const char* method, const char* path) {
    Kept exchange(method, path);
    router.handle(exchange);
    return exchange;
  };
  health.loading("reading \"x\"", 3, 12);
  for (const char* path : {"/health", "/health/ready"}) {
    const Kept loading = ask("GET", path);
    EXPECT_EQ(loading.answer.status, 503);
    EXPECT_EQ(loading.header("Retry-After"), "5");
    EXPECT_EQ(json::parse(loading.answer.body),
              (json{{"status", "loading model"},
                    {"progress", {{"what", "reading \"x\""}, {"done", 3}, {"total", 12}, {"share", 0.25}}}}));
  }
  EXPECT_EQ(ask("GET", "/health/live").answer.status, 200);
  EXPECT_EQ(ask("POST", "/work").answer.status, 503);
  EXPECT_EQ(ask("POST", "/work").header("Retry-After"), "5");
  EXPECT_EQ(ask("POST", "/nowhere").answer.status, 404);
  EXPECT_EQ(handled, 0);
  health.ready();
  EXPECT_EQ(ask("GET", "/health").answer.body, R"({"status":"ok"})");
  EXPECT_EQ(ask("POST", "/work").answer.status, 200);
  health.drain();
  EXPECT_EQ(ask("GET", "/health/ready").answer.status, 503);
  EXPECT_THAT(ask("GET", "/health").answer.body, HasSubstr("draining"));
  EXPECT_EQ(ask("GET", "/health/live").answer.status, 200);
  EXPECT_EQ(ask("POST", "/work").error("code"), "draining");
  EXPECT_EQ(handled, 1);
  health.ready();
  EXPECT_EQ(ask("GET", "/health").answer.status, 503);
}

TEST_F(RouterTest, WhatHandlersThrowHasItsStatus) {
  chat_ = [](Call&) { throw Error("temperature is 7").in("'temperature'").hint("at most 2"); };
  const Kept bad = post();
  EXPECT_EQ(bad.answer.status, 400);
  EXPECT_EQ(bad.error("type"), "invalid_request_error");
  EXPECT_THAT(bad.error(), AllOf(HasSubstr("temperature is 7"), HasSubstr("at most 2")));

  chat_ = [](Call&) { throw ApiError{413, "too much", "context_length_exceeded", "messages"}; };
  EXPECT_EQ(post().answer.status, 413);
  EXPECT_EQ(post().error("code"), "context_length_exceeded");
  EXPECT_EQ(post().error("param"), "messages");

  chat_ = [](Call&) { throw Busy{429, "32 requests wait.", std::chrono::seconds(7)}; };
  EXPECT_EQ(post().answer.status, 429);
  EXPECT_EQ(post().header("Retry-After"), "7");
  EXPECT_EQ(post().error("type"), "rate_limit_error");

  chat_ = [](Call&) { throw std::bad_alloc(); };
  EXPECT_EQ(post().answer.status, 503);
  EXPECT_NE(post().header("Retry-After"), "");
  chat_ = [](Call&) { throw std::system_error(EMFILE, std::generic_category()); };
  EXPECT_EQ(post().answer.status, 503);

  chat_ = [](Call&) { throw std::runtime_error("at 0x7fff"); };
  const Kept failed = post();
  EXPECT_EQ(failed.answer.status, 500);
  EXPECT_EQ(failed.error("type"), "server_error");
  EXPECT_THAT(failed.answer.body, Not(HasSubstr("0x7fff")));
  EXPECT_EQ(log_.back().at("bug"), "at 0x7fff");
  chat_ = [](Call&) { throw 7; };
  EXPECT_EQ(post().answer.status, 500);
}

TEST_F(RouterTest, AFailureHasTheShapeOfItsRoute) {
  router().add({.method = "POST",
                .path = "/v1/messages",
                .handler = [](Call&) { throw Error("no"); },
                .shape = [](const ApiError& error) { return Response{error.status, "shaped: " + error.message}; }});
  EXPECT_EQ(ask("POST", "/v1/messages").answer.body, "shaped: no");
  EXPECT_THAT(ask("PUT", "/v1/messages").answer.body, HasSubstr("shaped: ")) << "the path's, whatever the method";
  EXPECT_THAT(ask("POST", "/v1/messages/").answer.body, HasSubstr("shaped: ")) << "a base may end in a slash";
  EXPECT_EQ(router().refuse(413, "too long", "/v1/messages").body, "shaped: too long");
  EXPECT_THAT(router().refuse(413, "too long", "").body, HasSubstr("\"error\""));
  health_.drain();
  const Kept draining = ask("POST", "/v1/messages");
  EXPECT_THAT(draining.answer.body, HasSubstr("shaped: "));
  EXPECT_NE(draining.header("Retry-After"), "");
}

TEST_F(RouterTest, APathThatARouteNamesIsNotOneThatGoesOn) {
  const auto says = [](const char* what) { return [what](Call& call) { call.http.send({200, what}); }; };
  router().add({.method = "GET", .path = "/kept/*", .handler = says("rest")});
  router().add({.method = "POST", .path = "/kept/count", .handler = says("count")});
  EXPECT_EQ(ask("GET", "/kept/5").answer.body, "rest");
  EXPECT_EQ(ask("POST", "/kept/count").answer.body, "count");
  const Kept wrong = ask("GET", "/kept/count");
  EXPECT_EQ(wrong.answer.status, 405);
  EXPECT_EQ(wrong.header("Allow"), "POST, OPTIONS");
}

TEST_F(RouterTest, AfterHeadersAFailureBreaksTheAnswerOff) {
  chat_ = [](Call& call) {
    call.http.begin({200, {}, "text/event-stream"});
    call.http.write("data: 1\n\n");
    throw std::runtime_error("why");
  };
  Kept exchange("POST", "/v1/chat/completions");
  EXPECT_THROW(router().handle(exchange), std::runtime_error);
  EXPECT_EQ(exchange.answer.body, "data: 1\n\n");
  EXPECT_EQ(log_.back().at("status"), 200);
  EXPECT_EQ(log_.back().at("bug"), "why");

  chat_ = [](Call&) { throw http::ClientGone(); };
  Kept gone("POST", "/v1/chat/completions");
  EXPECT_THROW(router().handle(gone), http::ClientGone);
  EXPECT_EQ(log_.back().at("status"), 499);
}

TEST_F(RouterTest, ARequestHasAnIdWhichIsTheClientsWhenItIsFit) {
  EXPECT_EQ(post({{"X-Request-ID", "trace-01.a:b_c"}}).header("x-request-id"), "trace-01.a:b_c");
  const std::vector<std::string> unfit = {"", "a b", "a\nb", "<script>", "\xc3\xa9", std::string(129, 'a')};
  for (const std::string& id : unfit)
    EXPECT_THAT(post({{"x-request-id", id}}).header("x-request-id"), MatchesRegex("req_[0-9a-f]+")) << id;
  EXPECT_NE(post().header("x-request-id"), post().header("x-request-id"));
  EXPECT_NE(ask("GET", "/nowhere").header("x-request-id"), "");
  EXPECT_EQ(post().header("Server"), "cachalot");
}

TEST_F(RouterTest, OtherPagesAreNotHelpedUnlessTheirOriginIsListed) {
  options_.cors_origins = {"https://chat.example.org", "http://localhost:3000"};
  options_.keys = Keys::parse("sk-one Anna\n", "keys");
  const Headers key = {{"Authorization", "Bearer sk-one"}};
  Headers listed = key;
  listed.add("Origin", "https://chat.example.org");
  const Kept helped = post(listed);
  EXPECT_EQ(helped.answer.status, 200);
  EXPECT_EQ(helped.header("Access-Control-Allow-Origin"), "https://chat.example.org");
  EXPECT_EQ(helped.header("Vary"), "Origin");
  EXPECT_EQ(post({{"Origin", "http://localhost:3000"}}).header("Access-Control-Allow-Origin"),
            "http://localhost:3000");  // also of 401
  for (const char* other : {"https://chat.example.org.evil.org", "http://chat.example.org",
                            "https://chat.example.org:444", "null", "*", ""}) {
    Headers headers = key;
    headers.add("Origin", other);
    const Kept plain = post(headers);
    EXPECT_EQ(plain.answer.status, 200) << "a key is a key";
    EXPECT_EQ(plain.header("Access-Control-Allow-Origin"), "") << other;
    EXPECT_EQ(plain.header("Vary"), "Origin");
  }
  const Kept preflight = ask("OPTIONS", "/v1/chat/completions",
                             {{"Origin", "http://localhost:3000"},
                              {"Access-Control-Request-Method", "POST"},
                              {"Access-Control-Request-Headers", "authorization,x-stainless-os"}});
  EXPECT_EQ(preflight.answer.status, 204);
  EXPECT_EQ(preflight.header("Access-Control-Allow-Origin"), "http://localhost:3000");
  EXPECT_THAT(preflight.header("Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_EQ(preflight.header("Access-Control-Allow-Headers"), "authorization,x-stainless-os");
  const Kept foreign = ask("OPTIONS", "/v1/chat/completions",
                           {{"Origin", "https://evil.org"}, {"Access-Control-Request-Method", "POST"}});
  EXPECT_EQ(foreign.header("Access-Control-Allow-Origin"), "");
  EXPECT_EQ(foreign.header("Access-Control-Allow-Methods"), "");
}

TEST_F(RouterTest, WithoutListNoAnswerSpeaksOfOrigins) {
  const Kept exchange = ask("GET", "/v1/models", {{"Origin", "https://chat.example.org"}});
  EXPECT_EQ(exchange.answer.status, 200);
  EXPECT_EQ(exchange.header("Access-Control-Allow-Origin"), "");
  EXPECT_EQ(exchange.header("Vary"), "");
}

TEST_F(RouterTest, WithoutKeysForeignPagesCannotMakeTheServerWork) {
  options_.cors_origins = {"https://chat.example.org"};
  const auto status = [&](const char* origin, const char* host) {
    return post({{"Origin", origin}, {"Host", host}}).answer.status;
  };
  EXPECT_EQ(status("https://evil.org", "127.0.0.1:8080"), 403);
  EXPECT_EQ(status("null", "127.0.0.1:8080"), 403);
  EXPECT_EQ(status("http://evil.org:8080", "evil.org:8080"), 403);  // a name that its owner has pointed here
  EXPECT_EQ(status("http://[evil.org", "[evil.org"), 403);
  EXPECT_EQ(status("http://127.0.0.1.evil.org", "127.0.0.1.evil.org"), 403);
  EXPECT_EQ(status("http://127.0.0.1:8081", "127.0.0.1:8080"), 403);
  EXPECT_EQ(status("https://chat.example.org", "127.0.0.1:8080"), 200);
  EXPECT_EQ(status("http://127.0.0.1:8080", "127.0.0.1:8080"), 200);
  EXPECT_EQ(status("http://localhost:8080", "localhost:8080"), 200);
  EXPECT_EQ(status("http://[::1]:8080", "[::1]:8080"), 200);
  EXPECT_EQ(post({{"Host", "gpu-box:8080"}}).answer.status, 200);  // no browser
}

TEST(RouterOptions, WhatIsNoOriginIsRefused) {
  const Health health;
  const auto accepted = [&](const std::string& origin) {
    RouterOptions options;
    options.cors_origins = {origin};
    try {
      const Router router(std::move(options), health);
      return true;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("--cors-origin"));
      const bool star = origin.find('*') != std::string::npos;
      EXPECT_EQ(std::string_view(error.what()).find("every web page") != std::string_view::npos, star)
          << error.what();
      return false;
    }
  };
  for (const char* good : {"https://a.org", "http://localhost:3000", "http://[::1]:1", "vscode-webview://abc"})
    EXPECT_TRUE(accepted(good)) << good;
  for (const char* bad : {"", "*", "https://*.a.org", "a.org", "https://a.org/", "https://A.org", "https://", "null",
                          "https://a.org\r\nX: y"})
    EXPECT_FALSE(accepted(bad)) << bad;
}

TEST_F(RouterTest, EachRequestIsALine) {
  chat_ = [](Call& call) {
    call.log.text("model", "a\n\"b\x1b[31m\xff\xc2\x9b");
    call.log.count("prompt_tokens", 12);
    call.log.number("first_token_ms", 1.5);
    call.log.count("prompt_tokens", 13);
    call.http.begin({200, {}, "text/event-stream"});
    call.http.write("12345");
    call.http.write("678");
  };
  ask("POST", "/v1/chat/completions", {{"x-request-id", "id-1"}, {"Authorization", "Bearer sk-secret"}}, "a prompt");
  ASSERT_THAT(log_, SizeIs(1));
  const json& line = log_[0];
  EXPECT_THAT(line.at("time").get<std::string>(), MatchesRegex("20[0-9-]+T[0-9:]+\\.[0-9][0-9][0-9]Z"));
  EXPECT_EQ(line.at("id"), "id-1");
  EXPECT_EQ(line.at("method"), "POST");
  EXPECT_EQ(line.at("path"), "/v1/chat/completions");
  EXPECT_EQ(line.at("remote"), "192.0.2.7");
  EXPECT_EQ(line.at("status"), 200);
  EXPECT_EQ(line.at("bytes"), 8);
  EXPECT_GE(line.at("ms").get<double>(), 0);
  EXPECT_EQ(line.at("prompt_tokens"), 13);
  EXPECT_EQ(line.at("first_token_ms"), 1.5);
  EXPECT_THAT(lines_, AllOf(Not(HasSubstr("secret")), Not(HasSubstr("a prompt"))));
  EXPECT_EQ(lines_.find('\n'), lines_.size() - 1);
  for (const char c : lines_) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < '\x7f')) << static_cast<int>(c);

  ask("GET",
      "/v1/mod\x7f\xe2\x80\xae"
      "els");
  EXPECT_EQ(log_.back().at("status"), 404);
  EXPECT_THAT(log_.back().at("error").get<std::string>(), HasSubstr("There is no"));
  for (const char c : lines_) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < '\x7f')) << static_cast<int>(c);
  const size_t before = log_.size();
  ask("GET", "/health"), ask("GET", "/metrics");  // what asks every few seconds
  EXPECT_EQ(log_.size(), before);
}

TEST_F(RouterTest, OfARefusedBodyTheLogSaysWhichFieldAndTheAnswerWhy) {
  chat_ = [](Call& call) { json_body(call.http.request()); };
  const std::string answered = post({}, R"({"messages": "my password is hunter2 \q"})").error("message");
  EXPECT_THAT(answered, HasSubstr("hunter2"));
  EXPECT_EQ(log_.back().at("error"), "refused: the body is malformed");
  chat_ = [](Call&) { throw ApiError{400, "messages[0]: must be an object, not 'hunter2'", {}, "messages[0]"}; };
  post();
  EXPECT_EQ(log_.back().at("error"), "refused: messages[0]");
  for (const char* param : {"metadata['hunter2']", "metadata.hunter2", "metadata.a[0]"}) {
    chat_ = [param](Call&) { throw ApiError{400, "no", {}, param}; };
    post();
    EXPECT_EQ(log_.back().at("error"), "refused: metadata") << param;
  }
  chat_ = [](Call&) { throw ApiError{400, "there is no field 'hunter2'", "unknown_field", "hunter2"}; };
  post();
  EXPECT_EQ(log_.back().at("error"), "refused: a field that is not known");
  chat_ = [](Call&) { throw ApiError{400, "12 tokens are too many", "context_length_exceeded", "messages"}; };
  post();
  EXPECT_EQ(log_.back().at("error"), "12 tokens are too many");
  EXPECT_THAT(lines_, Not(HasSubstr("hunter2")));
}

TEST_F(RouterTest, WhatHttpRefusesHasTheShapeAndALine) {
  const Response response = router().refuse(503, "There is no room.", "");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(json::parse(response.body).at("error").at("message"), "There is no room.");
  EXPECT_NE(response.headers.find("Retry-After"), nullptr);
  EXPECT_NE(response.headers.find("x-request-id"), nullptr);
  EXPECT_EQ(log_.back().at("status"), 503);
}

TEST(JsonBody, IsAnObjectWithinLimitsWhateverItsTypeIsCalled) {
  const auto complaint = [](std::string body, Headers headers = {}) -> std::string {
    http::Request request;
    request.body = std::move(body), request.headers = std::move(headers);
    try {
      json_body(request, {.depth = 4, .values = 100});
    } catch (const Error& error) { return error.what(); } catch (const ApiError& error) {
      return std::to_string(error.status) + error.message;
    }
    return "";
  };
  EXPECT_EQ(complaint(R"({"a": [1, 2.5, "x", null, true]})"), "");
  EXPECT_EQ(complaint("{}", {{"Content-Type", "text/plain"}}), "");
  EXPECT_EQ(complaint("{}", {{"Content-Encoding", "identity"}}), "");
  EXPECT_EQ(complaint("\xef\xbb\xbf{}"), "");
  EXPECT_THAT(complaint("{}", {{"Content-Encoding", "gzip"}}), AllOf(HasSubstr("415"), HasSubstr("'gzip'")));
  EXPECT_THAT(complaint(" \n"), HasSubstr("nothing"));
  for (const auto& [body, named] :
       std::vector<std::pair<std::string, std::string>>{{"[]", "array"},
                                                        {"\"x\"", "string"},
                                                        {"1", "number"},
                                                        {"null", "null"},
                                                        {"123456789012345678901234567890", "number"}})
    EXPECT_THAT(complaint(body), AllOf(HasSubstr("object was expected"), HasSubstr(named)));
  for (const char* body :
       {"{", "{\"a\":}", "{\"a\":1}}", "{\"a\":01}", "{'a':1}", "{\"a\":\"\xff\"}", "{\"a\":1,}", "\x1b[31m"})
    EXPECT_THAT(complaint(body), HasSubstr("not valid JSON")) << body;
  EXPECT_THAT(complaint(std::string("{}\0{}", 5)), HasSubstr("NUL"));
  EXPECT_THAT(complaint(R"({"a":[[[[1]]]]})"), HasSubstr("deep"));
  std::string many = "{\"a\":[0";
  for (int i = 0; i < 200; ++i) many += ",0";
  EXPECT_THAT(complaint(many + "]}"), HasSubstr("values"));
  EXPECT_EQ(complaint(R"({"a":123456789012345678901234567890,"b":-99999999999999999999,"c":1e999,"d":NaN})"), "");
}

}  // namespace
}  // namespace cachalot
