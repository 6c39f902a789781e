// A client of raw bytes, for tests of the server.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

namespace cachalot {

class Client {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kPatience{20};  // for what must come

  // `received`: of the buffer for what comes, so that a client that does not read is full soon; 0: the system's.
  explicit Client(uint16_t port, int received = 0) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (received) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &received, sizeof received);
    connect_to(port);
  }
  // One that is made now and connects later.
  Client() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Client() { hang_up(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void connect_to(uint16_t port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }

  // Whether the server takes it.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  void end_sending() { shutdown(fd_, SHUT_WR); }
  void hang_up() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void reset() {
    const linger at_once = {1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    hang_up();
  }

  // Waits for more; false when the server has closed the connection (see reset_by_server) or nothing comes.
  bool more() {
    pollfd one = {fd_, POLLIN, 0};
    if (poll(&one, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0) {
      ADD_FAILURE() << "the server says nothing; so far: " << text_;
      return false;
    }
    char buffer[16384];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    reset_by_server_ = got < 0;
    if (got > 0) text_.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }
  // All that comes until the connection ends.
  std::string all() {
    while (more()) {}
    return std::exchange(text_, {});
  }
  // What comes up to and with `mark`; what follows is left.
  std::string until(std::string_view mark) {
    size_t at;
    while ((at = text_.find(mark)) == text_.npos)
      if (!more()) return std::exchange(text_, {});
    const std::string found = text_.substr(0, at + mark.size());
    text_.erase(0, found.size());
    return found;
  }
  bool reset_by_server() const { return reset_by_server_; }

  struct Answer {
    int status = 0;
    std::string head, body;  // the head with its empty line; a body in chunks is put together
    bool whole = false;
    bool has(std::string_view text) const { return head.find(text) != head.npos; }
    // Of a header; "" when there is none.
    std::string header(const std::string& name) const {
      const size_t at = head.find("\r\n" + name + ": ");
      if (at == head.npos) return "";
      const size_t value = at + name.size() + 4;
      return head.substr(value, head.find("\r\n", value) - value);
    }
  };
  // The next answer. `body`: false for those to HEAD.
  Answer answer(bool body = true) {
    Answer answer;
    answer.head = until("\r\n\r\n");
    answer.status = answer.head.starts_with("HTTP/1.1 ") ? std::atoi(answer.head.c_str() + 9) : 0;
    if (const std::string length = answer.header("Content-Length"); !body) {
      answer.whole = true;
    } else if (!length.empty()) {
      answer.body = bytes(std::strtoull(length.c_str(), nullptr, 10));
      answer.whole = answer.body.size() == std::strtoull(length.c_str(), nullptr, 10);
    } else if (answer.has("Transfer-Encoding: chunked")) {
      for (;;) {
        const std::string size = until("\r\n");
        if (!size.ends_with("\r\n")) break;
        const size_t count = std::strtoull(size.c_str(), nullptr, 16);
        answer.body += bytes(count);
        if (until("\r\n") != "\r\n") break;
        if ((answer.whole = count == 0)) break;
      }
    } else if (answer.status == 204) {
      answer.whole = true;
    } else {
      answer.body = all();
    }
    return answer;
  }

 private:
  std::string bytes(size_t count) {
    while (text_.size() < count && more()) {}
    const std::string found = text_.substr(0, count);
    text_.erase(0, count);
    return found;
  }

  int fd_;
  bool connected_ = false;
  bool reset_by_server_ = false;
  std::string text_;
};

}  // namespace cachalot
