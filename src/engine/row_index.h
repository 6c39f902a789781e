// Finds the block that begins with most of given rows. Nothing but the constructor allocates.
//
// Blocks are sorted by what stands before them and by their rows, row by row. So those that have most in common with
// given rows stand beside the place where these would, and a look-up compares with as many blocks as the logarithm of
// their number says, whatever they hold.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_key.h"
#include "ops/batch.h"

namespace cachalot {

class RowIndex {
 public:
  explicit RowIndex(int blocks);

  struct Nearest {
    int32_t block = -1;
    int rows = 0;  // in common; 0: there is none
  };
  // Among the blocks behind `before`.
  Nearest nearest(const BlockKey& before, std::span<const RowName> rows) const;

  int rows(int32_t block) const { return entries_[static_cast<size_t>(block)].count; }  // 0: it is not in the index
  // At least one row; no block of the index has all of them.
  void insert(int32_t block, const BlockKey& before, std::span<const RowName> rows);
  void erase(int32_t block);

  void check_invariants() const;

 private:
  struct Entry {
    BlockKey before;
    std::array<RowName, kBlockTokens> names;
    int count = 0;

    std::span<const RowName> rows() const { return std::span(names).first(static_cast<size_t>(count)); }
  };
  std::vector<int32_t>::const_iterator place_of(const BlockKey& before, std::span<const RowName> rows) const;

  std::vector<Entry> entries_;  // by block
  std::vector<int32_t> order_;
};

}  // namespace cachalot
