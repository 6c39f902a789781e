// Requests and their answers.
#include "server/http.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "client.h"
#include "server_under_test.h"

namespace cachalot::http {
namespace {

using namespace std::chrono_literals;
using testing::AllOf, testing::HasSubstr, testing::Not, testing::StartsWith;

TEST(Http, RequestsOfOneConnectionAreAnsweredInTheirOrderAlsoWhenTheyComeAtOnce) {
  ServerUnderTest server;
  Client client(server.port());
  client.send(
      "GET /one?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
      "POST /two HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\n\r\nhello"
      "\r\n\r\nPOST /three HTTP/1.1\r\nHost:\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
  EXPECT_EQ(client.answer().body, "GET /one ? x=1 []");
  EXPECT_EQ(client.answer().body, "POST /two ?  [hello]");
  const Client::Answer third = client.answer();
  EXPECT_EQ(third.body, "POST /three ?  [ab]");
  EXPECT_THAT(third.head,
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\nDate: "), Not(HasSubstr("Connection"))));
  EXPECT_EQ(third.header("Content-Type"), "application/json");
  client.send("GET /four HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(client.answer().header("Connection"), "close");
  EXPECT_EQ(client.all(), "");
  EXPECT_FALSE(client.reset_by_server());
}

TEST(Http, TheTargetMayBeAWholeAddress) {
  ServerUnderTest server;
  for (const auto& [target, said] :
       std::vector<std::pair<std::string, std::string>>{{"http://a.b:80/x/y?z", "/x/y ? z"},
                                                        {"HTTPS://a", "/ ? "},
                                                        {"http://a?q", "/ ? q"},
                                                        {"/a%20b?", "/a%20b ? "}}) {
    Client client(server.port());
    client.send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(client.answer().body, "GET " + said + " []") << target;
  }
}

TEST(Http, ChunksMayHaveExtensionsAndTrailersWhichAreNoHeaders) {
  ServerUnderTest server([](Exchange& exchange) {
    const Request& request = exchange.request();
    exchange.send({200, request.body + (request.headers.find("X-Late") ? " late" : "")});
  });
  Client client(server.port());
  const std::string text =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;name=value;other=\"a;b\"\r\nabc\r\n0000A \t;x\r\n0123456789\r\n0\r\nX-Late: 1\r\nx-api-key: 2\r\n\r\n";
  for (const char c : text) client.send(std::string(1, c));  // in as many pieces as there can be
  EXPECT_EQ(client.answer().body, "abc0123456789");
  client.send(text);
  EXPECT_EQ(client.answer().body, "abc0123456789");
}

TEST(Http, HeadGetsTheHeadersOfGetAlone) {
  ServerUnderTest server([](Exchange& exchange) {
    if (exchange.request().path == "/whole") return exchange.send({200, "12345"});
    exchange.begin({200, {}, "text/event-stream"});
    exchange.write("part");
  });
  Client client(server.port());
  client.send(
      "HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /whole HTTP/1.1\r\nHost: "
      "a\r\n\r\n");
  EXPECT_EQ(client.answer(false).header("Content-Length"), "5");
  EXPECT_TRUE(client.answer(false).has("text/event-stream"));
  EXPECT_EQ(client.answer().body, "12345");
}

TEST(Http, AStreamIsChunksAndThenTheNextRequest) {
  ServerUnderTest server([](Exchange& exchange) {
    EXPECT_FALSE(exchange.begun());
    exchange.begin({200, {}, "text/event-stream", {{"X-Note", "a\r\nInjected: yes"}}});
    EXPECT_TRUE(exchange.begun());
    exchange.write("");
    exchange.write("data: 1\n\n");
    exchange.write(std::string(100'000, 'x'));
  });
  Client client(server.port());
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const Client::Answer answer = client.answer();
    EXPECT_TRUE(answer.whole);
    EXPECT_EQ(answer.body, "data: 1\n\n" + std::string(100'000, 'x'));
    EXPECT_EQ(answer.header("X-Note"), "a  Injected: yes");
    EXPECT_FALSE(answer.has("Content-Length"));
  }
}

TEST(Http, Http10GetsNoChunksAndKeepsItsConnectionWhenItAsks) {
  ServerUnderTest server([](Exchange& exchange) {
    if (exchange.request().path == "/whole") return exchange.send({200, "12345"});
    exchange.begin({200, {}, "text/event-stream"});
    exchange.write("a");
    exchange.write("b");
  });
  Client client(server.port());
  client.send("GET /whole HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
  EXPECT_EQ(client.answer().header("Connection"), "keep-alive");
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const Client::Answer stream = client.answer();
  EXPECT_EQ(stream.body, "ab");
  EXPECT_EQ(stream.header("Connection"), "close");
  EXPECT_FALSE(client.reset_by_server());
  Client other(server.port());
  other.send("GET /whole HTTP/1.0\r\n\r\n");
  EXPECT_THAT(other.all(), AllOf(HasSubstr("Connection: close\r\n"), testing::EndsWith("\r\n\r\n12345")));
}

TEST(Http, WhoWaitsToBeToldThatItsBodyIsWelcomeIsTold) {
  ServerUnderTest server;
  Client client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ab");
  EXPECT_EQ(client.answer().body, "POST / ?  [ab]");
  // Who does not wait is not told, nor is who has nothing to send.
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nab");
  EXPECT_EQ(client.answer().status, 200);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\na");
  std::this_thread::sleep_for(5ms);
  client.send("b");
  EXPECT_EQ(client.answer().status, 200);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer().status, 200);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer().status, 413);
}

TEST(Http, TheClientsAddressIsToldWithoutItsPort) {
  ServerUnderTest server([](Exchange& exchange) { exchange.send({200, exchange.request().remote}); });
  Client client(server.port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.answer().body, "127.0.0.1");
}

TEST(Http, AHandlerThatFailsOrForgetsCostsOneAnswer) {
  ServerUnderTest server([](Exchange& exchange) {
    const std::string& path = exchange.request().path;
    if (path == "/forgets") return;
    if (path == "/fails") throw std::runtime_error("secret");
    exchange.begin({200, {}, "text/event-stream"});
    exchange.write("data: 1\n\n");
    throw std::runtime_error("secret");
  });
  Client client(server.port());
  for (const char* path : {"/forgets", "/fails"}) {
    client.send(fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path));
    const Client::Answer answer = client.answer();
    EXPECT_EQ(answer.status, 500);
    EXPECT_THAT(answer.body, Not(HasSubstr("secret")));
  }
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  const Client::Answer broken = client.answer();
  EXPECT_EQ(broken.body, "data: 1\n\n");
  EXPECT_FALSE(broken.whole);
  Client old(server.port());  // for whom the end of the connection would be the end of the answer
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  old.all();
  EXPECT_TRUE(old.reset_by_server());
}

TEST(Http, WaitingEndsWithNewsWithTimeOrWithTheClient) {
  Wakeup wakeup;
  std::atomic<int> gone = 0;
  ServerUnderTest server([&](Exchange& exchange) {
    if (exchange.request().path == "/news") {
      exchange.begin({200, {}, "text/plain"});
      exchange.write(exchange.wait(wakeup, 0ms) == Exchange::News::timeout ? "timeout " : "?");
      exchange.write("ready ");
      exchange.write(exchange.wait(wakeup, 20s) == Exchange::News::woken ? "woken " : "?");
      wakeup.reset();
      exchange.write(exchange.wait(wakeup, 1ms) == Exchange::News::timeout ? "timeout" : "?");
    } else {
      exchange.begin({200, {}, "text/plain"});
      gone += exchange.wait(wakeup, 20s) == Exchange::News::gone;
    }
  });
  Client client(server.port());
  // The next request, which comes meanwhile, is no news.
  client.send("GET /news HTTP/1.1\r\nHost: a\r\n\r\nGET /end HTTP/1.1\r\nHost: a\r\n\r\n");
  client.until("ready ");
  wakeup.wake();
  EXPECT_THAT(client.until("0\r\n\r\n"), AllOf(HasSubstr("woken "), HasSubstr("timeout")));
  client.until("\r\n\r\n");
  client.end_sending();
  EXPECT_TRUE(server.comes([&] { return gone == 1; }));
  Client other(server.port());
  other.send("GET /end HTTP/1.1\r\nHost: a\r\n\r\n");
  other.until("\r\n\r\n");
  other.reset();
  EXPECT_TRUE(server.comes([&] { return gone == 2; }));
}

TEST(Http, WhoeverWritesToAClientThatHasGoneIsToldSoAndNoSignalComes) {
  std::atomic<int> told = 0;
  Wakeup never;
  ServerUnderTest server([&](Exchange& exchange) {
    exchange.begin({200, {}, "text/plain"});
    exchange.wait(never, 20s);
    for (int i = 0; i < 2; ++i) {
      try {
        for (;;) exchange.write("x");
      } catch (const ClientGone&) { ++told; }
    }
    throw ClientGone();
  });
  Client client(server.port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  client.until("\r\n\r\n");
  client.reset();
  EXPECT_TRUE(server.comes([&] { return told == 2; }));
}

}  // namespace
}  // namespace cachalot::http
