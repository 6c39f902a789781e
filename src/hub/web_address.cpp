#include "hub/web_address.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/error.h"
#include "base/loopback.h"
#include "base/quote.h"

namespace cachalot {
namespace {

struct CloseUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, CloseUrl>;

constexpr unsigned kStrict = CURLU_DISALLOW_USER;

// A part of an address; empty where it has none.
std::string part_of(const Url& url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return {};
  std::string result = text;
  curl_free(text);
  return result;
}

Url set(Url url, std::string_view text) {
  const bool visible = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  if (!visible || text.size() > 16384 || curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), kStrict))
    throw Error(fmt::format("{} is no address of a hub", quote(text)))
        .hint("an address is like https://huggingface.co, without a name and password in it");
  curl_url_set(url.get(), CURLUPART_FRAGMENT, nullptr, 0);
  return url;
}

Url fresh() {
  Url url(curl_url());
  if (!url) throw std::bad_alloc();
  return url;
}

}  // namespace

WebAddress WebAddress::parse(std::string_view text) {
  const Url url = set(fresh(), text);
  WebAddress address;
  address.text_ = part_of(url, CURLUPART_URL);
  Origin& o = address.origin_;
  o.scheme = part_of(url, CURLUPART_SCHEME);
  o.host = part_of(url, CURLUPART_HOST);
  std::transform(o.host.begin(), o.host.end(), o.host.begin(), [](unsigned char c) { return std::tolower(c); });
  if (o.scheme != "https" && !(o.scheme == "http" && is_loopback(o.host)))
    throw Error(
        fmt::format("{} is not asked: only https is, and http of this machine itself", quote(address.shown())))
        .because("on the way anybody could read and change what is sent");
  o.port = std::stoi(part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT));
  return address;
}

WebAddress WebAddress::joined(std::string_view reference) const {
  WebAddress target = parse(part_of(set(set(fresh(), text_), reference), CURLUPART_URL));
  if (target.is_plain() && !is_plain())
    throw Error(fmt::format("{} leads to {}, which is not asked", quote(shown()), quote(target.shown())))
        .because("what is asked for over https does not go on without it");
  return target;
}

std::string WebAddress::shown() const { return text_.substr(0, text_.find('?')); }

std::string percent_encoded(std::string_view part) {
  std::string text;
  for (const unsigned char c : part)
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~')
      text += static_cast<char>(c);
    else
      text += fmt::format("%{:02X}", c);
  return text;
}

std::string percent_encoded_path(std::string_view path) {
  std::string text;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    text += (begin > 0 ? "/" : "") + percent_encoded(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

}  // namespace cachalot
