#include "server/request_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/version.hpp>

#include "base/check.h"
#include "base/quote.h"

namespace cachalot::http {

namespace beast = boost::beast;
using beast::error_code, beast::http::field, beast::http::verb;
using Text = beast::string_view;

std::string_view reason_phrase(int status) {
  if (status == 529) return "Overloaded";  // Anthropic's own
  const Text text = beast::http::obsolete_reason(static_cast<beast::http::status>(status));
  return {text.data(), text.size()};
}

bool same_text(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

const std::string* Headers::find(std::string_view name) const {
  const auto found = std::ranges::find_if(fields_, [&](const auto& field) { return same_text(field.first, name); });
  return found == fields_.end() ? nullptr : &found->second;
}

// The library's parser; what it finds goes into `request`.
class RequestParser::Message final : public beast::http::basic_parser<true> {
 public:
  explicit Message(size_t body_bytes) : body_bytes_(body_bytes) {
    body_limit(boost::none);  // the library counts a chunk's size again when its header comes in pieces
    header_limit(std::numeric_limits<uint32_t>::max());  // find_head() has looked
  }

  Request request;
  std::string target;
  bool http11 = false;

 private:
  static std::string_view view(Text text) { return {text.data(), text.size()}; }

  void on_request_impl(verb, Text method, Text whole_target, int version, error_code&) override {
    request.method = view(method);
    target = view(whole_target);
    http11 = version == 11;
  }
  void on_response_impl(int, Text, int, error_code&) override {}
  void on_field_impl(field, Text name, Text value, error_code&) override {
    if (!head_read_) request.headers.add(std::string(view(name)), std::string(view(value)));  // no trailers
  }
#if BOOST_VERSION >= 109000
  void on_trailer_field_impl(field, Text, Text, error_code&) override {}
#endif
  void on_header_impl(error_code&) override { head_read_ = true; }
  void on_body_init_impl(const boost::optional<uint64_t>& length, error_code&) override {
    // A promise costs no memory, only what comes does.
    if (length) request.body.reserve(std::min<uint64_t>(*length, size_t{1} << 20));
  }
  size_t on_body_impl(Text bytes, error_code&) override { return append(bytes); }
  void on_chunk_header_impl(uint64_t size, Text, error_code& error) override {
    if (size > body_bytes_ - request.body.size()) error = beast::http::error::body_limit;
  }
  size_t on_chunk_body_impl(uint64_t, Text bytes, error_code&) override { return append(bytes); }
  void on_finish_impl(error_code&) override {}

  size_t append(Text bytes) {
    request.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }

  const size_t body_bytes_;
  bool head_read_ = false;
};

RequestParser::RequestParser(const Limits& limits)
    : header_bytes_(limits.header_bytes),
      body_bytes_(limits.body_bytes),
      message_(std::make_unique<Message>(body_bytes_)) {}

RequestParser::~RequestParser() = default;

void RequestParser::feed(std::string_view bytes) {
  if (stage_ == Stage::body) raw_body_bytes_ += bytes.size();
  pending_ += bytes;
  advance();
}

void RequestParser::next() {
  message_ = std::make_unique<Message>(body_bytes_);
  stage_ = Stage::idle;
  scanned_ = line_ = raw_body_bytes_ = 0;
  expects_ = false;
  advance();
}

void RequestParser::advance() {
  if (stage_ == Stage::idle) {  // empty lines before a request are passed over
    size_t empty = 0;
    while (pending_.compare(empty, 2, "\r\n") == 0) empty += 2;
    pending_.erase(0, empty);
    if (!pending_.empty() && pending_ != "\r") stage_ = Stage::head;
  }
  if (stage_ == Stage::head && find_head()) read_head();
  if (stage_ == Stage::body) read_body();
}

size_t RequestParser::body_bytes() const { return message_ ? message_->request.body.size() : 0; }

void RequestParser::forget() {
  message_.reset();
  std::string().swap(pending_);
}

std::string RequestParser::path() const { return message_->request.path; }

Request RequestParser::take(Framing& framing) {
  CHECK(stage_ == Stage::whole);
  framing = {.http11 = message_->http11, .keep_alive = message_->keep_alive()};
  return std::move(message_->request);
}

bool RequestParser::wants_continue() {
  // Not when some of the body is here: then it does not wait.
  return std::exchange(expects_, false) && stage_ == Stage::body && pending_.empty() && body_bytes() == 0;
}

// Looks for the empty line that ends the headers, and at every byte before it once.
bool RequestParser::find_head() {
  if (pending_[0] == '\x16') throw Refused{400, "This port speaks HTTP without TLS: use http:// and not https://."};
  for (; scanned_ < pending_.size(); ++scanned_) {
    if (scanned_ >= header_bytes_) {
      if (line_ == 0) throw Refused{414, fmt::format("The request line is longer than {} bytes.", header_bytes_)};
      throw Refused{431, fmt::format("The headers are longer than {} bytes.", header_bytes_)};
    }
    const char c = pending_[scanned_];
    const bool after_cr = scanned_ > 0 && pending_[scanned_ - 1] == '\r';
    if (after_cr != (c == '\n')) throw Refused{400, "A line of the headers does not end with CR LF."};
    if (c == '\n') {
      if (scanned_ == line_ + 1) {
        ++scanned_;
        return true;
      }
      line_ = scanned_ + 1;
    } else if (scanned_ == line_ && line_ > 0 && (c == ' ' || c == '\t')) {
      throw Refused{400, "A line of the headers is folded, which HTTP no longer allows."};
    } else if ((static_cast<unsigned char>(c) < ' ' && c != '\r' && c != '\t') || c == '\x7f') {
      throw Refused{400, "There is a control character in the headers."};
    }
  }
  return false;
}

namespace {

Refused too_long(size_t body_bytes) { return {413, fmt::format("The body is longer than {} bytes.", body_bytes)}; }

Refused complaint(const error_code& error) {
  return {400, fmt::format("The request cannot be read: {}.", error.message())};
}

// Whether the request line ends like one, whatever its version.
bool names_a_version(std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\r'));
  const size_t at = line.rfind(" HTTP/");
  return at != line.npos && line.size() == at + 9 && line[at + 7] == '.';
}

struct Named {
  int count = 0;
  std::string_view value;  // of the last
};
Named named(const Headers& headers, std::string_view name) {
  Named found;
  for (const auto& [key, value] : headers)
    if (same_text(key, name)) found = {found.count + 1, value};
  return found;
}

// At most one of Content-Length and Transfer-Encoding, once, in its plainest form.
void check_framing(const Request& request, bool http11) {
  const Named length = named(request.headers, "Content-Length"), coding = named(request.headers, "Transfer-Encoding");
  if (length.count + coding.count > 1) throw Refused{400, "The length of the body is said more than once."};
  if (length.value.find_first_not_of("0123456789") != length.value.npos)  // the library knows lists
    throw Refused{400, "Content-Length is no whole number."};
  if (coding.count == 0) return;
  if (!http11) throw Refused{400, "HTTP/1.0 knows no Transfer-Encoding."};
  if (!same_text(coding.value, "chunked"))
    throw Refused{501, fmt::format("Of transfer encodings there is chunked alone, not {}.", quote(coding.value))};
}

// "/path?query", also where the client has written it behind a host; "*".
void set_target(std::string_view target, Request& request) {
  if (same_text(target.substr(0, 7), "http://") || same_text(target.substr(0, 8), "https://")) {
    const size_t host = target.find("//") + 2;
    const size_t end = std::min(target.find_first_of("/?", host), target.size());
    target.remove_prefix(end);
    if (target.empty() || target[0] == '?') request.path = "/";
  } else if (!target.starts_with('/') && !(target == "*" && request.method == "OPTIONS")) {
    throw Refused{400, fmt::format("The request is for {}, which is no path.", quote(target))};
  }
  const size_t query = std::min(target.find('?'), target.size());
  request.path += target.substr(0, query);
  if (query < target.size()) request.query = target.substr(query + 1);
}

}  // namespace

void RequestParser::read_head() {
  error_code error;
  const std::string_view head(pending_.data(), scanned_);
  const size_t read = message_->put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (error == beast::http::error::bad_version && names_a_version(head))
    throw Refused{505, "This server speaks HTTP/1.1."};
  if (error) throw complaint(error);
  CHECK(read == head.size());

  Request& request = message_->request;
  set_target(message_->target, request);
  check_framing(request, message_->http11);
  if (message_->content_length().value_or(0) > body_bytes_) throw too_long(body_bytes_);
  if (const int hosts = named(request.headers, "Host").count; hosts > 1 || (hosts == 0 && message_->http11))
    throw Refused{400, hosts == 0 ? "There is no Host header." : "There is more than one Host header."};
  if (const Named expect = named(request.headers, "Expect"); expect.count > 0 && message_->http11) {
    if (!same_text(expect.value, "100-continue"))
      throw Refused{417, fmt::format("The server cannot do what is expected: {}.", quote(expect.value))};
    expects_ = true;
  }
  pending_.erase(0, scanned_);
  raw_body_bytes_ = pending_.size();
  stage_ = message_->is_done() ? Stage::whole : Stage::body;
}

void RequestParser::read_body() {
  // As many bytes as the shortest body in chunks has; with fewer of them an assertion of the library fails.
  if (message_->chunked() && raw_body_bytes_ < 5) return;
  const auto limit_head = [&](size_t bytes) {
    if (bytes > header_bytes_) throw Refused{431, "A chunk's header or the trailers are too long."};
  };
  size_t at = 0;
  while (at < pending_.size() && !message_->is_done()) {
    error_code error;
    const size_t before = body_bytes();
    const size_t read = message_->put(boost::asio::const_buffer(pending_.data() + at, pending_.size() - at), error);
    if (error == beast::http::error::need_more) break;
    if (error == beast::http::error::body_limit) throw too_long(body_bytes_);
    if (error) throw complaint(error);
    if (body_bytes() == before) limit_head(read);
    at += read;
  }
  pending_.erase(0, at);
  if (message_->is_done()) {
    stage_ = Stage::whole;
    return;
  }
  limit_head(pending_.size());
  if (raw_body_bytes_ / 4 > body_bytes_ + header_bytes_) throw Refused{413, "The body is too long as it is chunked."};
}

}  // namespace cachalot::http
