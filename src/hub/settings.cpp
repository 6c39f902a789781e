#include "hub/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/quote.h"
#include "load/hub_cache.h"

namespace cachalot {
namespace {

constexpr const char* kHub = "https://huggingface.co";
constexpr int kMostSeconds = 3600;
constexpr size_t kMostTokenBytes = 4096;

// Empty where it is not set.
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (std::string value = variable(name); !value.empty()) return value;
  return {};
}

std::string token() {
  if (is_yes(std::getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return {};
  if (const std::string given = clean_token(first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}), "HF_TOKEN");
      !given.empty())
    return given;
  const auto file = hub_token_file();
  std::error_code code;
  if (!std::filesystem::is_regular_file(file, code)) return {};
  return clean_token(read_text_file(file, kMostTokenBytes), file.string());
}

// As the client does, what is no number counts as not given.
int stall_seconds() {
  const std::string text = variable("HF_HUB_DOWNLOAD_TIMEOUT");
  int seconds = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool whole = code == std::errc() && end == text.data() + text.size();
  return whole && seconds > 0 ? std::min(seconds, kMostSeconds) : HubSettings().stall_seconds;
}

WebAddress endpoint() {
  std::string text = first_of({"HF_ENDPOINT"});
  while (text.ends_with('/')) text.pop_back();
  try {
    return WebAddress::parse(text.empty() ? kHub : text);
  } catch (Error& error) { throw std::move(error).in("HF_ENDPOINT"); }
}

}  // namespace

bool is_yes(const char* value) {
  std::string text = value ? value : "";
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

std::string clean_token(std::string_view text, std::string_view where) {
  std::string token(text);
  std::erase_if(token, [](char c) { return c == '\r' || c == '\n'; });
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; };
  while (!token.empty() && is_space(token.back())) token.pop_back();
  token.erase(token.begin(), std::find_if_not(token.begin(), token.end(), is_space));
  const bool visible = std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!visible || token.size() > kMostTokenBytes)
    throw Error("what is there cannot be a token: it holds other than visible ASCII characters, or is too long")
        .in(where)
        .hint("`hf auth login` writes a new one");
  return token;
}

HubSettings HubSettings::from_environment() {
  HubSettings s{.endpoint = cachalot::endpoint(), .token = cachalot::token()};
  s.stall_seconds = cachalot::stall_seconds();
  s.offline = is_yes(first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}).c_str());
  s.links = !is_yes(std::getenv("HF_HUB_DISABLE_SYMLINKS"));
  s.certificates = first_of({"CURL_CA_BUNDLE", "SSL_CERT_FILE"});
  s.certificate_folder = variable("SSL_CERT_DIR");
  return s;
}

}  // namespace cachalot
