#include "server/dialect/reasoning.h"

#include <openssl/evp.h>

#include <algorithm>

namespace cachalot::dialect {
namespace {

constexpr std::string_view kMark = "cachalot-reasoning-1:";

const unsigned char* as_bytes(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* as_bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

}  // namespace

std::string sealed(std::string_view reasoning) {
  std::string plain(kMark);
  plain += reasoning;
  std::string text((plain.size() + 2) / 3 * 4 + 1, '\0');  // and a NUL
  text.resize(static_cast<size_t>(EVP_EncodeBlock(as_bytes(text), as_bytes(plain), static_cast<int>(plain.size()))));
  return text;
}

std::optional<std::string> unsealed(const std::string& text) {
  std::string plain(text.size() / 4 * 3 + 3, '\0');
  const int bytes = EVP_DecodeBlock(as_bytes(plain), as_bytes(text), static_cast<int>(text.size()));
  const size_t padding = text.size() - std::min(text.size(), text.find_last_not_of('=') + 1);
  if (bytes < 0 || padding > 2) return std::nullopt;
  plain.resize(static_cast<size_t>(bytes) - padding);
  if (!plain.starts_with(kMark)) return std::nullopt;
  return plain.substr(kMark.size());
}

}  // namespace cachalot::dialect
