// Names of cached blocks. A key stands for all that decides the bits of a block's rows: the tokens up to its end and
// whatever else its maker states. Keys are SHA-256 chains, so no two prompts can be made to share one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace cachalot {

struct BlockKey {
  std::array<uint64_t, 4> words{};
  bool operator==(const BlockKey&) const = default;
};

class KeyMaker {
 public:
  // Throws std::bad_alloc. What comes later allocates nothing.
  KeyMaker();

  // The key that stands before the first block, of whatever matters besides the tokens.
  BlockKey root(std::string_view facts);
  // The key of a block whose tokens are these, behind that of the block before. Bit i of `forms`: something of its
  // i-th row that changes the arithmetic; none where rows have but one form.
  BlockKey next(const BlockKey& before, std::span<const int32_t> tokens, std::optional<uint64_t> forms);

 private:
  void begin();
  void add(std::span<const std::byte> bytes);
  BlockKey end();

  struct Deleter {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Deleter> context_;  // libcrypto's
};

}  // namespace cachalot
