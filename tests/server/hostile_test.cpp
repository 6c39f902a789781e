// Requests that are no requests, or two at once: each gets its status, its connection is closed, and the server goes
// on.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <string>
#include <vector>

#include "client.h"
#include "server/request_parser.h"
#include "server_under_test.h"

namespace cachalot::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::HasSubstr, testing::StartsWith;

struct Case {
  std::string bytes;
  int status;
};

const std::string kGet = "GET / HTTP/1.1\r\n", kPost = "POST / HTTP/1.1\r\nHost: a\r\n", kHost = "Host: a\r\n",
                  kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";
constexpr Limits kSmall = {
    .header_bytes = 1000, .body_bytes = 5000, .head_time = 20s, .body_time = 20s, .linger_time = 20s};

std::vector<Case> hostile_requests() {
  return {
      // Two lengths are two requests.
      {kPost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {kPost + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
      {kPost + "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", 400},
      {kPost + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400},
      {kPost + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
      {kPost + "Content-Length: 5, 5\r\n\r\nhello", 400},
      {kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      // Codings and lengths that are none.
      {kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
      {kPost + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 501},
      {kPost + "Transfer-Encoding: xchunked\r\n\r\n", 501},
      {kPost + "Transfer-Encoding: \vchunked\r\n\r\n", 400},
      {kPost + "Transfer-Encoding : chunked\r\n\r\n", 400},
      {kPost + "Content-Length: -1\r\n\r\n", 400},
      {kPost + "Content-Length: +5\r\n\r\nhello", 400},
      {kPost + "Content-Length: 0x5\r\n\r\nhello", 400},
      {kPost + "Content-Length: 5 5\r\n\r\nhello", 400},
      {kPost + "Content-Length:\r\n\r\n", 400},
      {kPost + "Content-Length: 99999999999999999999999999\r\n\r\n", 400},
      {kPost + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {kPost + "Content-Length: 5001\r\n\r\n", 413},
      // Chunks.
      {kChunked + "5\r\nhelloXX\r\n", 400},
      {kChunked + "5\nhello\r\n0\r\n\r\n", 400},
      {kChunked + "-5\r\nhello\r\n0\r\n\r\n", 400},
      {kChunked + "0x5\r\nhello\r\n0\r\n\r\n", 400},
      {kChunked + " 5\r\nhello\r\n0\r\n\r\n", 400},
      {kChunked + "\r\n5\r\nhello\r\n0\r\n\r\n", 400},
      {kChunked + "g\r\n\r\n", 400},
      {kChunked + "5;\r\nhello\r\n0\r\n\r\n", 400},
      {kChunked + "5;a=\"b\r\nhello\"\r\n", 400},
      {kChunked + "ffffffffffffffff\r\n", 413},
      {kChunked + "fffffffffffffffff\r\n", 400},
      {kChunked + "1389\r\n", 413},
      {kChunked + "1000\r\n" + std::string(0x1000, 'x') + "\r\n1000\r\n", 413},
      {kChunked + "0\r\nContent-Length: 5\r\n\r\n", 400},
      {kChunked + "0\r\nX\r\n\r\n", 400},
      {kChunked + "5;a=" + std::string(2000, 'b'), 431},
      {kChunked + "0\r\nX: " + std::string(2000, 'b'), 431},
      {kChunked + "0\r\nX: " + std::string(2000, 'b') + "\r\n\r\n", 431},
      {kChunked + "5;a=" + std::string(2000, 'b') + "\r\nhello\r\n0\r\n\r\n", 431},
      // Lines.
      {kGet + "Host: a\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: a\n\n", 400},
      {kGet + "Host: a\r\nX: a\rb\r\n\r\n", 400},
      {kGet + "Host: a\r\nX: a\r\r\n\r\n", 400},
      {kGet + "Host: a\r\nX: a\r\n b\r\n\r\n", 400},
      {kGet + "Host: a\r\nX: a\r\n\tb\r\n\r\n", 400},
      {kGet + " Host: a\r\n\r\n", 400},
      {kGet + "Host: a\r\nX: a\0b\r\n\r\n"s, 400},
      {"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, 400},
      {kGet + "Host: a\r\nX: \x1b[31m\r\n\r\n", 400},
      {kGet + "Host: a\r\nX\r\n\r\n", 400},
      {kGet + "Host: a\r\n: a\r\n\r\n", 400},
      {kGet + "Host: a\r\nX Y: a\r\n\r\n", 400},
      {kGet + "Host: a\r\nX\x80: a\r\n\r\n", 400},
      // Hosts.
      {kGet + "\r\n", 400},
      {kGet + "Host: a\r\nHost: a\r\n\r\n", 400},
      // Request lines.
      {"GET\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"GET / FTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\n\r\n", 505},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},  // TLS
      {"\x05\x01\x00"s, 400},                                  // SOCKS
      {"GET /" + std::string(2000, 'a'), 414},
      {std::string(2000, 'a'), 414},
      {kGet + "Host: a\r\nX: " + std::string(2000, 'a'), 431},
      {kGet + kHost + "Expect: a raise\r\n\r\n", 417},
  };
}

TEST(Hostile, EveryRequestThatIsNoneIsRefusedAndItsConnectionClosed) {
  std::atomic<int> handled = 0;
  ServerUnderTest server([&](Exchange& exchange) { ++handled, exchange.send({}); }, kSmall);
  for (const Case& one : hostile_requests()) {
    Client client(server.port());
    client.send(one.bytes);
    const Client::Answer answer = client.answer();
    EXPECT_EQ(answer.status, one.status) << testing::PrintToString(one.bytes);
    EXPECT_THAT(answer.body, StartsWith("refused: "));
    EXPECT_EQ(answer.header("Connection"), "close");
    EXPECT_EQ(client.all(), "") << testing::PrintToString(one.bytes);  // also of what stands behind it
    EXPECT_FALSE(client.reset_by_server()) << testing::PrintToString(one.bytes);
    EXPECT_EQ(handled, 0) << testing::PrintToString(one.bytes);
  }
  Client after(server.port());
  after.send(kGet + kHost + "\r\n");
  EXPECT_EQ(after.answer().status, 200);
}

TEST(Hostile, ARequestThatEndsInTheMiddleIsToldSo) {
  std::atomic<int> handled = 0;
  ServerUnderTest server([&](Exchange&) { ++handled; }, kSmall);
  for (const std::string& part :
       {"GET"s, kGet, kPost + "Content-Length: 5\r\n\r\nhell", kChunked, kChunked + "5\r\nhello\r\n0\r\n"}) {
    Client client(server.port());
    client.send(part);
    client.end_sending();
    EXPECT_EQ(client.answer().status, 400) << part;
  }
  EXPECT_EQ(handled, 0);
}

TEST(Hostile, WhoIsRefusedInTheMiddleOfABodyStillReadsWhy) {
  ServerUnderTest server({}, kSmall);
  Client client(server.port());
  client.send(kPost + "Content-Length: 400000\r\n\r\n");
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(client.send(std::string(10'000, 'x')));
  EXPECT_EQ(client.answer().status, 413);
  EXPECT_EQ(client.all(), "");
  EXPECT_FALSE(client.reset_by_server());
}

TEST(Hostile, EmptyLinesWithoutEndAreNoRequest) {
  ServerUnderTest server({}, {.idle_time = 50ms});
  Client client(server.port());
  std::string lines;
  for (int i = 0; i < 1 << 16; ++i) lines += "\r\n";
  const auto begun = Client::Clock::now();
  while (client.send(lines) && Client::Clock::now() - begun < 10s) {}
  EXPECT_LT(Client::Clock::now() - begun, 9s);
}

TEST(Hostile, ABodyInChunksOfOneByteIsReadButNotForever) {
  ServerUnderTest server({}, kSmall);
  const auto ones = [](int count, const std::string& header) {
    std::string text = kChunked;
    for (int i = 0; i < count; ++i) text += header + "\r\nx\r\n";
    return text + "0\r\n\r\n";
  };
  Client fine(server.port()), padded(server.port());
  fine.send(ones(1000, "1"));
  EXPECT_EQ(fine.answer().status, 200);
  padded.send(ones(1000, "1;a=" + std::string(100, 'b')));
  EXPECT_EQ(padded.answer().status, 413);
}

TEST(Hostile, TheTlsClientIsToldWhatThePortSpeaks) {
  ServerUnderTest server;
  Client client(server.port());
  client.send("\x16\x03\x01");
  EXPECT_THAT(client.answer().body, HasSubstr("http://"));
}

// What a parser makes of bytes: its requests, and how it ended.
std::string reading(std::string_view bytes, size_t split) {
  RequestParser parser(kSmall);
  std::string found;
  try {
    parser.next();
    for (size_t at = 0; at < bytes.size(); at += split) {
      parser.feed(bytes.substr(at, split));
      while (parser.stage() == RequestParser::Stage::whole) {
        Framing framing;
        const Request request = parser.take(framing);
        found += fmt::format("{} {} {} {} {}", request.method, request.path, request.query, framing.http11,
                             framing.keep_alive);
        for (const auto& [name, value] : request.headers) found += fmt::format(" ({}={})", name, value);
        found += " [" + request.body + "]\n";
        parser.next();
      }
    }
  } catch (const Refused& refused) { return found + fmt::format("refused {}", refused.status); }
  return found + fmt::format("stage {}", static_cast<int>(parser.stage()));
}

TEST(RequestParser, HowBytesArriveIsNoPartOfWhatTheySay) {
  std::vector<std::string> texts = {kGet + kHost + "\r\n\r\n" + kPost + "Content-Length: 5\r\n\r\nhello" + kChunked +
                                    "3;a=b\r\nabc\r\n0\r\nX: 1\r\n\r\n" + kGet};
  for (const Case& one : hostile_requests()) texts.push_back(kChunked + "2\r\nab\r\n0\r\n\r\n" + one.bytes);
  for (const std::string& text : texts) {
    const std::string whole = reading(text, text.size());
    EXPECT_THAT(whole, StartsWith(text.starts_with("GET") ? "GET / " : "POST / "));
    for (const size_t split : {1, 2, 3, 7, 50})
      EXPECT_EQ(reading(text, split), whole) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace cachalot::http
