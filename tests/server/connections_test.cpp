// How connections begin, wait and end, and what the server does when it runs out of something.
#include <dirent.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <list>
#include <optional>
#include <thread>

#include "base/error.h"
#include "client.h"
#include "server_under_test.h"

namespace cachalot::http {
namespace {

using namespace std::chrono_literals;
using testing::AllOf, testing::HasSubstr;

TEST(Connections, AClientThatDoesNotReadIsGoneAfterAWhile) {
  std::atomic<bool> gone = false;
  ServerUnderTest server(
      [&](Exchange& exchange) {
        exchange.begin({200, {}, "text/plain"});
        try {
          for (;;) exchange.write(std::string(1 << 16, 'x'));
        } catch (const ClientGone&) {
          gone = true;
          throw;
        }
      },
      {.write_time = 100ms});
  Client client(server.port(), 4096);
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(server.comes([&] { return gone.load(); }));
  EXPECT_TRUE(server.comes([&] { return server->connections() == 0; }));
}

TEST(Connections, WhoIsSlowIsToldSo) {
  ServerUnderTest server({}, {.head_time = 60ms, .body_time = 60ms, .linger_time = 10ms});
  Client head(server.port()), body(server.port()), chunk(server.port());
  head.send("GET / HTTP/1.1\r\n");
  body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
  chunk.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  EXPECT_EQ(head.answer().status, 408);
  EXPECT_EQ(body.answer().status, 408);
  EXPECT_EQ(chunk.answer().status, 408);
}

TEST(Connections, WhoIsIdleIsLeft) {
  ServerUnderTest server({}, {.idle_time = 60ms});
  Client silent(server.port());
  EXPECT_EQ(silent.all(), "");
  EXPECT_TRUE(server.comes([&] {  // on a machine that is busy the client may be too slow to be answered
    Client idle(server.port());
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const int status = idle.answer().status;
    EXPECT_EQ(idle.all(), "");
    return status == 200;
  }));
}

// A byte now and then holds a thread no longer than silence does.
TEST(Connections, WhoDribblesIsToldSo) {
  ServerUnderTest server({}, {.head_time = 150ms, .body_time = 150ms, .idle_time = 20s, .linger_time = 10ms});
  for (const char* beginning :
       {"GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"}) {
    Client client(server.port());
    client.send(beginning);
    const auto begun = Client::Clock::now();
    while (client.send("x") && Client::Clock::now() - begun < 10s) std::this_thread::sleep_for(5ms);
    EXPECT_LT(Client::Clock::now() - begun, 9s) << beginning;
    // What is sent after the answer may reset the connection before the answer is read, which is not looked for here.
  }
}

TEST(Connections, TheConnectionBeyondTheLastIsToldSoAndLaterOnesAreServed) {
  ServerUnderTest server({}, {.connections = 2, .linger_time = 20s});
  std::optional<Client> one(server.port()), two(server.port());
  for (auto* client : {&one, &two}) {
    (*client)->send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ((*client)->answer().status, 200);
    (*client)->send("GET / HT");  // it is in a request
  }
  std::this_thread::sleep_for(50ms);
  Client three(server.port());
  three.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(three.answer().status, 503);
  EXPECT_EQ(three.all(), "");
  EXPECT_FALSE(three.reset_by_server());
  one.reset();
  EXPECT_TRUE(server.comes([&] { return server->connections() == 1; }));
  Client four(server.port());
  four.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(four.answer().status, 200);
}

TEST(Connections, TheOneThatHasBeenIdleLongestGivesWayToANewOne) {
  ServerUnderTest server({}, {.connections = 3, .idle_time = 20s, .linger_time = 20s});
  std::list<Client> clients;
  const auto asks = [](Client& client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    return client.answer().status;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(asks(clients.emplace_back(server.port())), 200);
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(asks(clients.front()), 200) << "so it is idle anew, and the second one longest";
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(asks(clients.emplace_back(server.port())), 200);
  EXPECT_EQ(std::next(clients.begin())->all(), "");
  EXPECT_TRUE(server.comes([&] { return server->connections() == 3; }));
  for (const auto client : {clients.begin(), std::next(clients.begin(), 2), std::next(clients.begin(), 3)})
    EXPECT_EQ(asks(*client), 200);
  // Fifty more come and go, and nobody is told that there is no room.
  for (int i = 0; i < 50; ++i) EXPECT_EQ(asks(clients.emplace_back(server.port())), 200) << i;
  EXPECT_TRUE(server.comes([&] { return server->connections() == 3; }));
}

// While it lives, this process can have no further descriptor.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlim_t highest = 0;
    DIR* folder = opendir("/proc/self/fd");
    while (const dirent* entry = readdir(folder))
      highest = std::max<rlim_t>(highest, static_cast<rlim_t>(std::atoi(entry->d_name)));
    closedir(folder);
    const rlimit limit = {highest + 1, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int fd; (fd = dup(0)) >= 0;) holes_.push_back(fd);
  }
  ~NoDescriptors() {
    for (const int fd : holes_) close(fd);
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_ = {};
  std::vector<int> holes_;
};

TEST(Connections, WithoutDescriptorsOneIsToldSoAndTheServerGoesOn) {
  ServerUnderTest server;
  Client early(server.port()), one, two, three;
  early.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(early.answer().status, 200);
  {
    const NoDescriptors none;
    for (Client* client : {&one, &two}) {
      client->connect_to(server.port());
      EXPECT_EQ(client->answer().status, 503);
    }
    early.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(early.answer().status, 200);
  }
  three.connect_to(server.port());
  three.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(three.answer().status, 200);
}

#ifndef CACHALOT_SANITIZED  // whose shadow of the memory has no limit
// While it lives, this process can have no memory for the stack of a further thread.
class NoThreads {
 public:
  NoThreads() {
    getrlimit(RLIMIT_AS, &before_);
    std::ifstream pages("/proc/self/statm");
    rlim_t used = 0;
    pages >> used;
    const rlimit limit = {used * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{6} << 20), before_.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
  }
  ~NoThreads() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_ = {};
};

TEST(Connections, WithoutThreadsOneIsToldSoAndTheServerGoesOn) {
  ServerUnderTest server;
  {
    const NoThreads none;
    std::list<Client> clients;
    int status = 200;
    while (status == 200 && clients.size() < 200) {  // the stacks of threads that have ended are used first
      Client& client = clients.emplace_back(server.port());
      client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      status = client.answer().status;
    }
    EXPECT_EQ(status, 503);
  }
  Client after(server.port());
  after.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(after.answer().status, 200);
}
#endif

TEST(Connections, BodiesOfAllTogetherHaveALimit) {
  Wakeup go;
  ServerUnderTest server(
      [&](Exchange& exchange) {
        if (exchange.request().path != "/holds") return exchange.send({});
        exchange.begin({200, {}, "text/plain"});
        exchange.write("begun");
        exchange.wait(go, 20s);
      },
      {.all_body_bytes = 1000});
  const auto post = [](const char* path, int bytes) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}", path, bytes,
                       std::string(bytes, 'x'));
  };
  Client holds(server.port()), comes(server.port()), after(server.port());
  holds.send(post("/holds", 900));
  holds.until("begun");
  comes.send(post("/", 300));
  EXPECT_EQ(comes.answer().status, 503);
  after.send(post("/", 100));  // what was refused is held no longer, and not until its client hangs up
  EXPECT_EQ(after.answer().status, 200);
  go.wake();
  holds.until("0\r\n\r\n");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(server.comes([&] {  // a body is given back a moment after its answer
      Client again(server.port());
      again.send(post("/", 900));
      return again.answer().status == 200;
    }));
  }
}

TEST(Connections, AfterStopAnswersEndAndNobodyComesIn) {
  Wakeup go;
  ServerUnderTest server(
      [&](Exchange& exchange) {
        exchange.begin({200, {}, "text/plain"});
        exchange.write("begun");
        exchange.wait(go, 20s);
        exchange.write("ended");
      },
      {.linger_time = 10ms});
  Client idle(server.port()), busy(server.port()), half(server.port());
  busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  busy.until("begun");
  half.send("GET / HTTP/1.1\r\n");
  EXPECT_TRUE(server.comes([&] { return server->connections() == 3; }));
  server->stop();
  EXPECT_EQ(idle.all(), "");
  EXPECT_FALSE(Client(server.port()).connected());
  EXPECT_FALSE(server->wait(10ms));
  half.send("Host: a\r\n\r\n");
  EXPECT_THAT(half.until("begun"), HasSubstr("\r\nConnection: close\r\n"));
  go.wake();
  EXPECT_THAT(busy.all(), HasSubstr("ended\r\n0\r\n\r\n"));
  EXPECT_THAT(half.all(), HasSubstr("ended\r\n0\r\n\r\n"));
  EXPECT_TRUE(server->wait(20s));
  EXPECT_EQ(server->connections(), 0);
  server->stop();
}

TEST(Connections, AfterStopNobodyComesInAlsoWhereNobodyWas) {
  ServerUnderTest server;
  std::this_thread::sleep_for(20ms);  // until it waits
  server->stop();
  EXPECT_FALSE(Client(server.port()).connected());
  EXPECT_TRUE(server->wait(0ms));
}

TEST(Connections, TheEndOfTheServerIsTheEndOfEveryClient) {
  std::atomic<int> gone = 0;
  std::optional<ServerUnderTest> server;
  Wakeup never;
  server.emplace([&](Exchange& exchange) {
    exchange.begin({200, {}, "text/plain"});
    exchange.write("begun");
    if (exchange.request().path == "/waits") gone += exchange.wait(never, 20s) == Exchange::News::gone;
    try {
      for (;;) exchange.write("more"), std::this_thread::sleep_for(1ms);
    } catch (const ClientGone&) {
      ++gone;
      throw;
    }
  });
  Client waits(server->port()), writes(server->port()), idle(server->port()), half(server->port());
  waits.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
  waits.until("begun");
  writes.send("GET /writes HTTP/1.1\r\nHost: a\r\n\r\n");
  writes.until("begun");
  half.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
  server.reset();
  EXPECT_EQ(gone, 3);
}

TEST(Connections, ItListensOnAddressesAndNames) {
  const auto with = [](const std::string& host) {
    Server server(host, 0, {}, [](Exchange& exchange) { exchange.send({}); }, refusal);
    EXPECT_GT(server.port(), 0);
    return server.address().substr(0, server.address().rfind(':'));
  };
  EXPECT_EQ(with("127.0.0.1"), "http://127.0.0.1");
  EXPECT_EQ(with("0.0.0.0"), "http://0.0.0.0");
  EXPECT_THAT(with("localhost"), testing::AnyOf("http://127.0.0.1", "http://[::1]"));
  const int six = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool has_six = six >= 0 && bind(six, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(six);
  if (!has_six) return;  // a machine without IPv6
  EXPECT_EQ(with("::1"), "http://[::1]");
  EXPECT_EQ(with("[::1]"), "http://[::1]");
  Server both("::", 0, {}, [](Exchange& exchange) { exchange.send({200, exchange.request().remote}); }, refusal);
  Client four(both.port());
  four.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(four.answer().body, "127.0.0.1");
}

TEST(Connections, WhereItCannotListenItSaysWhyAndWhatToDo) {
  const auto complaint = [](const std::string& host, uint16_t port) -> std::string {
    try {
      Server(host, port, {}, [](Exchange&) {}, refusal);
    } catch (const Error& error) { return error.what(); }
    return "";
  };
  ServerUnderTest server;
  EXPECT_THAT(
      complaint("127.0.0.1", server.port()),
      AllOf(HasSubstr(fmt::format("http://127.0.0.1:{}", server.port())), HasSubstr("in use"), HasSubstr("--port")));
  EXPECT_THAT(complaint("192.0.2.1", 0), AllOf(HasSubstr("192.0.2.1"), HasSubstr("--host")));
  for (const char* host : {"no such name", "", "300.0.0.1"})
    EXPECT_THAT(complaint(host, 0), HasSubstr("hint: ")) << host;
}

}  // namespace
}  // namespace cachalot::http
