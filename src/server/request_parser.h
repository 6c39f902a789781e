// A connection's bytes become requests, one after the other. Knows no socket and no clock. Strict, since a server
// that reads a request otherwise than the proxy before it lets others smuggle theirs: what RFC 9112 lets a server
// repair (folded lines, bare LF, equal lengths twice) is refused.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/http.h"

namespace cachalot::http {

// Thrown for a request that cannot be answered; the connection cannot go on.
struct Refused {
  int status;
  std::string why;  // a sentence for the client
};

// What an answer must know of its request.
struct Framing {
  bool http11 = true;       // false: HTTP/1.0, which knows no chunks
  bool keep_alive = false;  // the client's wish
};

class RequestParser {
 public:
  explicit RequestParser(const Limits& limits);
  ~RequestParser();

  enum class Stage { idle, head, body, whole };  // of one request: nothing of it has come, part of its headers, …
  Stage stage() const { return stage_; }
  // The client's next bytes. They may be of requests to come. Throws Refused.
  void feed(std::string_view bytes);
  // Whether the client waits to be told that its body is welcome. True once.
  bool wants_continue();
  size_t body_bytes() const;  // that have come
  std::string path() const;   // of the request that is being read, once its line has been; or ""
  void forget();              // them; nothing is read any more

  // When it is whole: the request, and then the next one, perhaps of bytes that are here. next() throws Refused.
  Request take(Framing& framing);
  void next();

 private:
  class Message;
  void advance();
  bool find_head();
  void read_head();
  void read_body();

  const size_t header_bytes_, body_bytes_;
  Stage stage_ = Stage::idle;
  std::string pending_;               // bytes that have come and are not part of message_
  size_t scanned_ = 0;                // of pending_, while the head is looked for …
  size_t line_ = 0;                   // … and where its line began
  size_t raw_body_bytes_ = 0;         // as sent, with the marks of chunks
  bool expects_ = false;              // 100-continue, and not told yet
  std::unique_ptr<Message> message_;  // the request that is being read
};

std::string_view reason_phrase(int status);              // "Not Found"
bool same_text(std::string_view a, std::string_view b);  // but for the case of ASCII letters

}  // namespace cachalot::http
