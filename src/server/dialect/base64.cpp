#include "server/dialect/base64.h"

#include <openssl/evp.h>

#include <algorithm>

namespace cachalot::dialect {

static unsigned char* as_bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

std::string base64(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and a NUL
  const int written = EVP_EncodeBlock(as_bytes(text), reinterpret_cast<const unsigned char*>(bytes.data()),
                                      static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(written));
  return text;
}

std::optional<std::string> from_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3 + 3, '\0');
  const int read = EVP_DecodeBlock(as_bytes(bytes), reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  const size_t padding = text.size() - std::min(text.size(), text.find_last_not_of('=') + 1);
  if (read < 0 || padding > 2) return std::nullopt;
  bytes.resize(static_cast<size_t>(read) - padding);
  return bytes;
}

}  // namespace cachalot::dialect
