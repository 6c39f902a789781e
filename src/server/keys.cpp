#include "server/keys.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>

#include "base/error.h"
#include "base/log.h"
#include "server/request_parser.h"

namespace cachalot {

constexpr size_t kMostBytes = size_t{1} << 20;  // of a file of keys
constexpr std::string_view kBlank = " \t";

Keys::Digest Keys::digest_of(std::string_view key) {
  Digest digest;
  if (EVP_Digest(key.data(), key.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  return digest;
}

static bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

Keys Keys::parse(std::string_view text, std::string_view where) {
  Keys keys;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
    line = line.substr(0, line.find_last_not_of(kBlank) + 1);
    if (line.empty() || line[0] == '#') continue;

    const auto refuse = [&](const char* what) {
      throw Error(what).in(fmt::format("line {}", number)).in(where).hint("a line is KEY or KEY NAME");
    };
    const std::string_view key = line.substr(0, line.find_first_of(kBlank));
    std::string_view name = line.substr(key.size());
    name.remove_prefix(std::min(name.find_first_not_of(kBlank), name.size()));
    if (!printable(key)) refuse("the key has characters that no header can carry");
    if (std::ranges::any_of(name, [](unsigned char c) { return c < ' ' || c == '\x7f'; }))
      refuse("the name has control characters");
    const Digest digest = digest_of(key);
    if (std::ranges::any_of(keys.keys_, [&](const Key& one) { return one.digest == digest; }))
      refuse("the key stands in the file twice");
    const std::string made = fmt::format("key-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    keys.keys_.push_back({digest, name.empty() ? made : std::string(name)});
  }
  if (keys.empty()) throw Error("there is no key in the file").in(where).hint("a line is KEY or KEY NAME");
  return keys;
}

Keys Keys::read(const std::filesystem::path& file) {
  const std::string where = file.string();
  struct stat facts = {};
  if (stat(file.c_str(), &facts) != 0) throw Error("cannot read the keys").in(where).because(std::strerror(errno));
  if (S_ISDIR(facts.st_mode)) throw Error("cannot read the keys").in(where).because("it is a folder");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error("cannot read the keys").in(where).because(std::strerror(errno));
  std::string text;
  for (char c; text.size() <= kMostBytes && in.get(c);) text += c;
  if (text.size() > kMostBytes) throw Error(fmt::format("the file has more than {} bytes", kMostBytes)).in(where);
  Keys keys = parse(text, where);
  if (S_ISREG(facts.st_mode) && (facts.st_mode & S_IROTH))
    warn("{}: everybody on this machine can read the keys; chmod 600 keeps them yours", where);
  OPENSSL_cleanse(text.data(), text.size());
  return keys;
}

const std::string* Keys::caller_of(std::string_view key) const {
  const Digest digest = digest_of(key);
  const Key* found = nullptr;
  for (const Key& one : keys_)  // all of them, wherever it stands
    if (CRYPTO_memcmp(one.digest.data(), digest.data(), digest.size()) == 0) found = &one;
  return found ? &found->caller : nullptr;
}

const std::string* Keys::caller_of(const http::Request& request) const {
  if (const std::string* header = request.headers.find("Authorization")) {
    std::string_view value = *header;
    if (http::same_text(value.substr(0, 7), "Bearer ")) {
      value.remove_prefix(std::min(value.find_first_not_of(' ', 7), value.size()));
      if (const std::string* caller = caller_of(value)) return caller;
    }
  }
  const std::string* header = request.headers.find("x-api-key");
  return header ? caller_of(*header) : nullptr;
}

}  // namespace cachalot
