// Who holds which block of a cache, and what is known to be in it. Bookkeeping only: it touches no memory of the
// cache. Nothing but its constructor allocates.
//
// A block is held by so many (its count), or by nobody. One that nobody holds stays *reusable* as long as it has a
// name: it is found again by that, until the room is needed; the least recently used goes first. Without a name it is
// *free*. Slots of recurrent states are such blocks, too.
//
// A name is a key, or the rows that a block begins with, or both: a full block is found by its key, and whatever has
// rows of its own by a beginning that is shorter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/block_key.h"
#include "engine/row_index.h"

namespace cachalot {

class BlockPool {
 public:
  explicit BlockPool(int blocks);

  int blocks() const { return static_cast<int>(blocks_.size()) - 1; }
  int free() const { return free_; }
  int reusable() const { return reusable_; }
  int in_use() const { return blocks() - free_ - reusable_; }
  int available() const { return free_ + reusable_; }
  int64_t evictions() const { return evictions_; }  // names that were lost for want of room

  // A block without a name, held once: a free one, or else the least recently used.
  std::optional<int32_t> take();
  void hold(int32_t block);  // once more
  void release(int32_t block);

  int count(int32_t block) const { return at(block).count; }
  bool named(int32_t block) const { return at(block).keyed || rows(block) > 0; }
  std::optional<int32_t> find(const BlockKey& key) const;
  // Names a block that is held. It stays without a key when another has that one already.
  void name(int32_t block, const BlockKey& key);
  // The block behind `before` that begins with most of these rows.
  RowIndex::Nearest nearest(const BlockKey& before, std::span<const RowName> rows) const {
    return rows_.nearest(before, rows);
  }
  // Names a block that is held by the rows that it begins with. None where another has all of them.
  void name_rows(int32_t block, const BlockKey& before, std::span<const RowName> rows);
  int rows(int32_t block) const { return rows_.rows(block); }  // that it is named by
  void forget_name(int32_t block);

  // CHECKs that every block is in one state alone, and that `counts` say who holds it.
  void check_invariants(std::span<const int> counts) const;

 private:
  // Those that nobody holds are in a ring: from the end mark, the last of blocks_, first free ones, then reusable
  // ones, least recently used first. Those of one bucket of keys are in a list.
  struct Block {
    BlockKey key;
    int count = 0;
    bool keyed = false;
    int32_t before = -1, after = -1;
    int32_t next_in_bucket = -1;
  };
  Block& at(int32_t block);
  const Block& at(int32_t block) const;
  int32_t end_mark() const { return static_cast<int32_t>(blocks_.size()) - 1; }
  void link(int32_t block, int32_t before);
  void unlink(int32_t block);
  void forget_key(int32_t block);
  size_t bucket(const BlockKey& key) const { return key.words[0] & (buckets_.size() - 1); }

  std::vector<Block> blocks_;
  std::vector<int32_t> buckets_;
  RowIndex rows_;
  int free_ = 0, reusable_ = 0;
  int64_t evictions_ = 0;
};

}  // namespace cachalot
