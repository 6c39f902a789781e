// Who holds which block, and what is found again.
#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace cachalot {

static BlockKey key(uint64_t i) { return {.words = {i * 8, i, 0, 1}}; }  // all in few buckets

TEST(BlockPool, FreeBlocksGoFirstThenTheLeastRecentlyUsed) {
  BlockPool pool(3);
  const int32_t a = *pool.take(), b = *pool.take(), c = *pool.take();
  EXPECT_EQ((std::set<int32_t>{a, b, c}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.take(), std::nullopt);
  pool.name(a, key(1)), pool.name(b, key(2));
  pool.release(b), pool.release(a), pool.release(c);
  EXPECT_EQ(pool.free(), 1);
  EXPECT_EQ(pool.reusable(), 2);
  EXPECT_EQ(pool.take(), c) << "it has no name";
  EXPECT_EQ(pool.evictions(), 0);
  EXPECT_EQ(pool.take(), b) << "it was released first";
  EXPECT_EQ(pool.evictions(), 1);
  EXPECT_EQ(pool.find(key(2)), std::nullopt);
  EXPECT_EQ(pool.find(key(1)), a);
  pool.check_invariants(std::vector<int>{a != 0, a != 1, a != 2});
}

TEST(BlockPool, WhatIsFoundIsHeldAndUsedAnew) {
  BlockPool pool(2);
  const int32_t a = *pool.take(), b = *pool.take();
  pool.name(a, key(1)), pool.name(b, key(2));
  pool.release(a), pool.release(b);
  pool.hold(*pool.find(key(1)));
  pool.hold(a);
  EXPECT_EQ(pool.count(a), 2);
  EXPECT_EQ(pool.in_use(), 1);
  pool.release(a), pool.release(a);
  EXPECT_EQ(pool.take(), b) << "a has been used since";
}

TEST(BlockPool, TheSecondOfOneNameStaysWithout) {
  BlockPool pool(2);
  const int32_t a = *pool.take(), b = *pool.take();
  pool.name(a, key(1)), pool.name(b, key(1));
  EXPECT_FALSE(pool.named(b));
  pool.release(b);
  EXPECT_EQ(pool.free(), 1);
  EXPECT_EQ(pool.find(key(1)), a);
  pool.forget_name(a);
  EXPECT_EQ(pool.find(key(1)), std::nullopt);
}

TEST(BlockKeys, AreSha256OfAllThatDecides) {
  KeyMaker keys;
  // sha256sum of "abc", in words as they lie in memory.
  const BlockKey abc = keys.root("abc");
  const auto* bytes = reinterpret_cast<const unsigned char*>(abc.words.data());
  EXPECT_EQ(bytes[0], 0xba);
  EXPECT_EQ(bytes[1], 0x78);
  EXPECT_EQ(bytes[31], 0xad);

  std::vector<int32_t> tokens(64, 7), others = tokens;
  others[63] = 8;
  const BlockKey a = keys.root("a"), b = keys.root("b");
  const auto all = {keys.next(a, tokens, {}), keys.next(a, others, {}),
                    keys.next(b, tokens, {}), keys.next(a, tokens, 0),
                    keys.next(a, tokens, 1),  keys.next(keys.next(a, tokens, {}), tokens, {})};
  for (const BlockKey& x : all) EXPECT_EQ(std::count(all.begin(), all.end(), x), 1);
  EXPECT_EQ(keys.next(a, tokens, 5), keys.next(a, tokens, 5));
}

}  // namespace cachalot
