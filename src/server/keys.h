// The keys that let clients in.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace cachalot {

// One of each line of a file: the key, and after white space a name for it, which may have several words. Lines that
// begin with '#' and empty ones say nothing. Keys of one name are one caller, so that a key can be replaced by
// another while both are valid; a key without a name is called key-XXXXXXXX, the beginning of its SHA-256.
class Keys {
 public:
  Keys() = default;  // none: everybody may come in
  // Warns when others can read the file. These throw Error, which never shows a key; also when there is none.
  static Keys read(const std::filesystem::path& file);
  static Keys parse(std::string_view text, std::string_view where);

  bool empty() const { return keys_.empty(); }
  // Whose key it is; none when it is nobody's. Takes the same time for every key of the same length.
  const std::string* caller_of(std::string_view key) const;
  // The same of the key that a request shows: as a bearer's (OpenAI) or as x-api-key (Anthropic).
  const std::string* caller_of(const http::Request& request) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Key {
    Digest digest;  // so keys of any length are compared in the same way, and the keys are nowhere in memory
    std::string caller;
  };
  static Digest digest_of(std::string_view key);
  std::vector<Key> keys_;
};

}  // namespace cachalot
