// Byte-pair merging of one piece of text. Immutable after construction, so any thread may use it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cachalot {

class Bpe {
 public:
  struct Merge {
    int left, right, result;  // token ids
    int rank;                 // lower joins first; several merges may share one
  };
  // `id_of_byte` holds the token of each single byte, -1 where there is none. Of two merges of the same pair the
  // later one counts, as in Hugging Face's library.
  Bpe(const std::array<int, 256>& id_of_byte, std::span<const Merge> merges);

  // Appends the ids of `piece`: starting from single bytes, the adjacent pair of the lowest rank (leftmost among
  // equals) is joined until no listed pair is left. n log n in the length. A byte that has no token is left out, and
  // its neighbours stand side by side, as in Hugging Face's library.
  void encode(std::string_view piece, std::vector<int>& ids) const;

 private:
  struct Slot {
    uint64_t pair;
    int rank, result;
  };
  const Slot& find(int left, int right) const;
  int first_id(char byte) const { return id_of_byte_[static_cast<uint8_t>(byte)]; }
  void encode_short(std::string_view piece, std::vector<int>& ids) const;
  void encode_long(std::string_view piece, std::vector<int>& ids) const;

  std::array<int, 256> id_of_byte_;
  std::vector<Slot> slots_;  // open addressing; a free slot has rank kNoMerge and any pair
  uint64_t mask_;
};

}  // namespace cachalot
