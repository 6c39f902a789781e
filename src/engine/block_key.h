// Names of cached blocks. A key stands for all that decides the bits of a block's rows: the tokens up to its end and
// whatever else its maker states. Keys are SHA-256 chains, so no two prompts can be made to share one.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace cachalot {

struct BlockKey {
  std::array<uint64_t, 4> words{};
  auto operator<=>(const BlockKey&) const = default;
};

// What decides a row's bits besides the rows before it: its token, and in the lowest bit which form of its arithmetic
// it takes, 0 where rows have but one.
using RowName = uint32_t;

class KeyMaker {
 public:
  // Throws std::bad_alloc. What comes later allocates nothing.
  KeyMaker();

  // The key that stands before the first block, of whatever matters besides the tokens.
  BlockKey root(std::string_view facts);
  // The key of a block of these rows, behind that of the block before.
  BlockKey next(const BlockKey& before, std::span<const RowName> rows);

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
