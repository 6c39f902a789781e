#include "engine/block_pool.h"

#include <bit>
#include <utility>

#include "base/check.h"

namespace cachalot {

BlockPool::BlockPool(int blocks)
    : blocks_(static_cast<size_t>(blocks) + 1),
      buckets_(std::bit_ceil(static_cast<size_t>(blocks) + 1), -1),
      rows_(blocks) {
  const int32_t end = end_mark();
  blocks_.back().before = blocks_.back().after = end;
  for (int32_t block = 0; block < blocks; ++block) link(block, end);  // low ids are handed out first
  free_ = blocks;
}

BlockPool::Block& BlockPool::at(int32_t block) {
  DCHECK(block >= 0 && block <= end_mark());
  return blocks_[static_cast<size_t>(block)];
}
const BlockPool::Block& BlockPool::at(int32_t block) const {
  DCHECK(block >= 0 && block <= end_mark());
  return blocks_[static_cast<size_t>(block)];
}

void BlockPool::link(int32_t block, int32_t before) {
  at(block).after = before;
  at(block).before = at(before).before;
  at(at(before).before).after = block;
  at(before).before = block;
}

void BlockPool::unlink(int32_t block) {
  at(at(block).before).after = at(block).after;
  at(at(block).after).before = at(block).before;
}

std::optional<int32_t> BlockPool::take() {
  if (available() == 0) return std::nullopt;
  const int32_t block = at(end_mark()).after;
  unlink(block);
  if (named(block)) {
    forget_name(block);
    --reusable_;
    ++evictions_;
  } else {
    --free_;
  }
  at(block).count = 1;
  return block;
}

void BlockPool::hold(int32_t block) {
  if (at(block).count++ > 0) return;
  CHECK(named(block), "a free block is taken, not held");
  unlink(block);
  --reusable_;
}

void BlockPool::release(int32_t block) {
  CHECK(at(block).count > 0);
  if (--at(block).count > 0) return;
  link(block, named(block) ? end_mark() : at(end_mark()).after);
  ++(named(block) ? reusable_ : free_);
}

std::optional<int32_t> BlockPool::find(const BlockKey& key) const {
  int32_t block = buckets_[bucket(key)];
  while (block >= 0 && at(block).key != key) block = at(block).next_in_bucket;
  if (block < 0) return std::nullopt;
  return block;
}

void BlockPool::name(int32_t block, const BlockKey& key) {
  CHECK(at(block).count > 0 && !at(block).keyed);
  if (find(key)) return;
  at(block).key = key;
  at(block).keyed = true;
  at(block).next_in_bucket = std::exchange(buckets_[bucket(key)], block);
}

void BlockPool::name_rows(int32_t block, const BlockKey& before, std::span<const RowName> rows) {
  CHECK(at(block).count > 0 && !rows.empty());
  if (rows_.rows(block) > 0) rows_.erase(block);
  if (nearest(before, rows).rows < std::ssize(rows)) rows_.insert(block, before, rows);
}

void BlockPool::forget_key(int32_t block) {
  int32_t* link = &buckets_[bucket(at(block).key)];
  while (*link != block) link = &at(*link).next_in_bucket;
  *link = at(block).next_in_bucket;
  at(block).keyed = false;
}

void BlockPool::forget_name(int32_t block) {
  CHECK(named(block));
  if (at(block).keyed) forget_key(block);
  if (rows(block) > 0) rows_.erase(block);
}

void BlockPool::check_invariants(std::span<const int> counts) const {
  CHECK(std::ssize(counts) == blocks());
  int free = 0, reusable = 0;
  for (int32_t block = at(end_mark()).after; block != end_mark(); block = at(block).after) {
    CHECK(at(block).count == 0 && at(at(block).after).before == block);
    CHECK(named(block) || reusable == 0, "free blocks go before reusable ones");
    ++(named(block) ? reusable : free);
    CHECK(free + reusable <= blocks(), "the ring has a knot");
  }
  CHECK(free == free_ && reusable == reusable_);
  int held = 0;
  for (int32_t block = 0; block < end_mark(); ++block) {
    CHECK(at(block).count == counts[static_cast<size_t>(block)], "block {} is held by {}, but counts {}", block,
          counts[static_cast<size_t>(block)], at(block).count);
    CHECK(!at(block).keyed || find(at(block).key) == block);
    CHECK(rows(block) < kBlockTokens || at(block).keyed, "block {} is full, but has no key", block);
    held += at(block).count > 0;
  }
  CHECK(held == in_use());
  rows_.check_invariants();
}

}  // namespace cachalot
