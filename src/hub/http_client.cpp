#include "hub/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "base/quote.h"

namespace cachalot {
namespace {

constexpr int kMostRedirects = 10, kMostTries = 5;
constexpr long kConnectSeconds = 20;
constexpr size_t kMostHeaderBytes = size_t{256} << 10;
constexpr std::chrono::seconds kLongestWait{300};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return result;
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// What may go well the next time: the way, and not the answer or our own words.
bool passes(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

WebFailure no_answer(const WebAddress& address, CURLcode code, const std::string& detail) {
  Error error = Error("no whole answer came").in(address.shown()).because(quote(detail));
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
    error = std::move(error).hint(
        "nothing is sent to who cannot prove to be that host; SSL_CERT_FILE names certificates to trust, and a "
        "certificate is also refused when the clock of this machine is wrong");
  else if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT)
    error = std::move(error).hint("is there a network? HTTPS_PROXY names a proxy, HF_ENDPOINT another hub");
  WebFailure failure(std::move(error), passes(code));
  failure.reached = code != CURLE_COULDNT_RESOLVE_HOST && code != CURLE_COULDNT_RESOLVE_PROXY &&
                    code != CURLE_COULDNT_CONNECT && code != CURLE_OPERATION_TIMEDOUT;
  return failure;
}

}  // namespace

std::string WebAnswer::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::optional<std::chrono::seconds> retry_after(std::string_view text, std::chrono::system_clock::time_point now) {
  text = trimmed(text);
  int64_t seconds = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (code == std::errc() && end == text.data() + text.size())
    return seconds >= 0 ? std::optional(std::chrono::seconds(std::min<int64_t>(seconds, 1 << 30))) : std::nullopt;
  const time_t date = curl_getdate(std::string(text).c_str(), nullptr);
  if (date < 0 || text.empty()) return std::nullopt;
  return std::max(std::chrono::seconds(0), std::chrono::seconds(date - std::chrono::system_clock::to_time_t(now)));
}

WebFailure failure_of(const WebAnswer& answer) {
  Error error = Error(fmt::format("the server answers with status {}", answer.status)).in(answer.address.shown());
  if (const std::string said = answer.header("x-error-message"); !said.empty())
    error = std::move(error).because("it says " + quote(said, 300));
  const bool busy = answer.status == 429 || answer.status == 503;
  if (answer.status == 429)
    error = std::move(error).hint("it is asked too often; a token (HF_TOKEN) raises the hub's limits");
  const auto wait = busy ? retry_after(answer.header("retry-after"), std::chrono::system_clock::now()) : std::nullopt;
  return {std::move(error), busy || answer.status == 408 || answer.status / 100 == 5,
          wait.value_or(std::chrono::seconds(0))};
}

void Patience::wait(const WebFailure& failure) {
  if (!failure.passing || ++tries_ >= kMostTries) throw WebFailure(failure);
  if (failure.wait > kLongestWait) {
    const std::string wish = fmt::format("it asks to come back in {} s", failure.wait.count());
    throw WebFailure(Error(failure).because(wish), false);
  }
  using Clock = std::chrono::steady_clock;
  const auto own = std::chrono::milliseconds(250) * (1 << tries_);
  const auto end = Clock::now() + std::max(own, std::chrono::milliseconds(failure.wait));
  while (Clock::now() < end) {
    if (client_.cancelled()()) throw Cancelled();
    std::this_thread::sleep_for(std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(50)));
  }
}

// --- one transfer ---

struct HttpClient::Transfer {
  const HttpClient& client;
  const WebRequest& request;
  WebAnswer answer = {};
  size_t header_bytes = 0;
  int64_t body_bytes = 0;
  bool begun = false;
  std::exception_ptr thrown = {};  // in a call from C, through which it must not go

  // What curl calls. Other than what it expects back ends the transfer.
  static size_t on_header(char* data, size_t, size_t count, void* self) {
    return static_cast<Transfer*>(self)->guarded([&](Transfer& t) { t.hear_header({data, count}); }) ? count : 0;
  }
  static size_t on_body(char* data, size_t, size_t count, void* self) {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), count);
    return static_cast<Transfer*>(self)->guarded([&](Transfer& t) { t.hear_body(bytes); }) ? count : 0;
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->guarded([](const Transfer& t) {
      if (t.client.cancelled_()) throw Cancelled();
    })
               ? 0
               : 1;
  }
  template <typename Work>
  bool guarded(const Work& work) {
    try {
      work(*this);
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }

  void hear_header(std::string_view line) {
    header_bytes += line.size();
    if (header_bytes > kMostHeaderBytes) throw WebFailure(too_long("headers"), false);
    if (line.starts_with("HTTP/")) {  // of a proxy's answer, or of one that said only to go on
      answer.headers.clear();
      return;
    }
    const size_t colon = line.find(':');
    if (colon != line.npos) answer.headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
  }
  void hear_body(std::span<const std::byte> bytes) {
    long status = 0;
    curl_easy_getinfo(client.curl_, CURLINFO_RESPONSE_CODE, &status);
    answer.status = static_cast<int>(status);
    body_bytes += static_cast<int64_t>(bytes.size());
    const bool wanted = request.sink && (status == 200 || status == 206);
    if (!wanted && request.sink) return;  // a failure's page, which nobody reads
    if (body_bytes > request.limit_bytes) throw WebFailure(too_long("body"), false);
    if (!request.sink) {
      answer.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return;
    }
    begin_once();
    request.sink(bytes);
  }
  void begin_once() {
    if (!begun && request.begin) request.begin(answer);
    begun = true;
  }
  Error too_long(std::string_view what) const {
    return Error(fmt::format("the answer's {} is longer than it may be", what)).in(answer.address.shown());
  }
};

HttpClient::HttpClient(const HubSettings& settings, std::function<bool()> cancelled)
    : settings_(settings), cancelled_(std::move(cancelled)) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  curl_ = curl_easy_init();
  if (!curl_) throw std::bad_alloc();
}

HttpClient::~HttpClient() { curl_easy_cleanup(curl_); }

void HttpClient::set_up(Transfer& transfer, const WebAddress& address) {
  const auto set = [this](CURLoption option, auto value) {
    if (curl_easy_setopt(curl_, option, value) != CURLE_OK)
      throw Error("the library for transfers cannot do what is needed")
          .because(fmt::format("option {}", static_cast<int>(option)));
  };
  curl_easy_reset(curl_);  // connections are kept
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_URL, address.text().c_str());
  set(CURLOPT_PROTOCOLS_STR, "https,http");
  if (address.is_plain()) set(CURLOPT_PROXY, "");  // which would be another machine
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!settings_.certificates.empty()) set(CURLOPT_CAINFO, settings_.certificates.c_str());
  if (!settings_.certificate_folder.empty()) set(CURLOPT_CAPATH, settings_.certificate_folder.c_str());
  set(CURLOPT_USERAGENT, "cachalot");
  set(CURLOPT_CONNECTTIMEOUT, std::min<long>(kConnectSeconds, 2L * settings_.stall_seconds));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings_.stall_seconds));
  set(CURLOPT_TIMEOUT, static_cast<long>(transfer.request.total_seconds));
  if (transfer.request.head) set(CURLOPT_NOBODY, 1L);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, &transfer);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  set(CURLOPT_XFERINFODATA, &transfer);
}

namespace {

class HeaderLines {
 public:
  ~HeaderLines() { curl_slist_free_all(lines_); }
  void add(const std::string& line) {
    curl_slist* longer = curl_slist_append(lines_, line.c_str());
    if (!longer) throw std::bad_alloc();
    lines_ = longer;
  }
  curl_slist* lines() const { return lines_; }

 private:
  curl_slist* lines_ = nullptr;
};

}  // namespace

WebAnswer HttpClient::once(const WebRequest& request, const WebAddress& address) {
  Transfer transfer{*this, request};
  transfer.answer.address = address;
  set_up(transfer, address);
  HeaderLines lines;
  lines.add("Accept-Encoding: identity");  // sizes and checksums are of the bytes as they are
  if (request.range)
    lines.add(
        fmt::format("Range: bytes={}-{}", request.range->first, request.range->first + request.range->size - 1));
  if (!settings_.token.empty() && address.origin() == settings_.endpoint.origin())
    lines.add("Authorization: Bearer " + settings_.token);
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, lines.lines());
  std::array<char, CURL_ERROR_SIZE> detail = {};
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, detail.data());

  const CURLcode code = curl_easy_perform(curl_);
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, nullptr);
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  if (code != CURLE_OK) throw no_answer(address, code, detail[0] ? detail.data() : curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  transfer.answer.status = static_cast<int>(status);
  if (status == 200 || status == 206) transfer.begin_once();  // of an empty body
  return std::move(transfer.answer);
}

WebAnswer HttpClient::ask(const WebRequest& request) {
  WebAddress address = request.address;
  for (int i = 0; i <= kMostRedirects; ++i) {
    WebAnswer answer = once(request, address);
    if (!answer.redirects()) return answer;
    const WebAddress target = address.joined(answer.header("location"));
    if (!request.follow && target.origin() != address.origin()) return answer;
    address = target;
  }
  throw WebFailure(Error(fmt::format("it redirects more than {} times", kMostRedirects)).in(request.address.shown()),
                   false);
}

WebAnswer HttpClient::ask_patiently(const WebRequest& request) {
  Patience patience(*this);
  for (;;) try {
      WebAnswer answer = ask(request);
      if (answer.status < 400) return answer;
      if (WebFailure failure = failure_of(answer); failure.passing) throw failure;
      return answer;
    } catch (const WebFailure& failure) { patience.wait(failure); }
}

}  // namespace cachalot
