// Free lists of the cache's blocks, one per group of layers. Bookkeeping only: it touches no memory of the cache.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/check.h"

namespace cachalot {

class BlockPool {
 public:
  explicit BlockPool(const std::vector<int>& blocks_of_group) : blocks_(blocks_of_group) {
    for (const int blocks : blocks_of_group) {
      std::vector<int32_t> free(static_cast<size_t>(blocks));
      for (int i = 0; i < blocks; ++i) free[static_cast<size_t>(i)] = blocks - 1 - i;  // low ids are handed out first
      free_.push_back(std::move(free));
    }
  }

  int groups() const { return static_cast<int>(free_.size()); }
  int blocks(int group) const { return blocks_[static_cast<size_t>(group)]; }  // free or taken
  int free_blocks(int group) const { return static_cast<int>(free_[static_cast<size_t>(group)].size()); }

  std::optional<int32_t> take(int group) {
    auto& free = free_[static_cast<size_t>(group)];
    if (free.empty()) return std::nullopt;
    const int32_t block = free.back();
    free.pop_back();
    return block;
  }
  void give_back(int group, int32_t block) {
    DCHECK(block >= 0);
    free_[static_cast<size_t>(group)].push_back(block);  // never allocates: all blocks have fitted before
  }

 private:
  std::vector<int> blocks_;
  std::vector<std::vector<int32_t>> free_;
};

}  // namespace cachalot
