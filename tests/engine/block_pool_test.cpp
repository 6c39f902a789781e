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

using Rows = std::vector<RowName>;

TEST(BlockPool, ABlockIsFoundByWhatItBeginsWith) {
  BlockPool pool(4);
  const int32_t a = *pool.take(), b = *pool.take(), c = *pool.take();
  pool.name_rows(a, key(1), Rows{2, 4, 6});
  pool.name_rows(b, key(1), Rows{2, 4, 8, 10});
  pool.name_rows(c, key(2), Rows{2, 4, 8, 12});
  const auto nearest = [&](const Rows& rows) {
    const auto found = pool.nearest(key(1), rows);
    return std::pair(found.block, found.rows);
  };
  EXPECT_EQ(nearest({2, 4, 6, 8}), std::pair(a, 3));
  EXPECT_EQ(nearest({2, 4, 8}), std::pair(b, 3)) << "it has more than is asked for";
  EXPECT_EQ(nearest({2, 4, 8, 12}), std::pair(b, 3)) << "c stands behind other rows";
  EXPECT_EQ(nearest({2, 3}).second, 1);
  EXPECT_EQ(nearest({3, 4}), std::pair(-1, 0));
  EXPECT_EQ(nearest({}), std::pair(-1, 0));
  // Nobody holds them: they are found all the same, until the room is needed.
  pool.release(a), pool.release(b), pool.release(c);
  EXPECT_EQ(pool.reusable(), 3);
  pool.check_invariants(std::vector<int>(4));
  pool.take(), pool.take();
  EXPECT_EQ(nearest({2, 4, 6}), std::pair(b, 2));
}

TEST(BlockPool, RowsThatAnotherBlockHasNeedNoNameAndNamesGrow) {
  BlockPool pool(2);
  const int32_t a = *pool.take(), b = *pool.take();
  pool.name_rows(a, key(1), Rows{2, 4, 6});
  pool.name_rows(b, key(1), Rows{2, 4});
  EXPECT_FALSE(pool.named(b));
  pool.name_rows(b, key(1), Rows{2, 4, 6, 8});
  EXPECT_EQ(pool.rows(b), 4);
  pool.name_rows(a, key(1), Rows{2, 4, 6});
  EXPECT_FALSE(pool.named(a)) << "b has all of them now";
  Rows whole(kBlockTokens, 2);
  pool.name(a, key(7));
  pool.name_rows(a, key(1), whole);
  pool.check_invariants(std::vector<int>{1, 1});
  pool.forget_name(a);
  EXPECT_EQ(pool.nearest(key(1), whole).rows, 1);
  EXPECT_EQ(pool.find(key(7)), std::nullopt);
}

TEST(BlockKeys, AreSha256OfAllThatDecides) {
  KeyMaker keys;
  // sha256sum of "abc", in words as they lie in memory.
  const BlockKey abc = keys.root("abc");
  const auto* bytes = reinterpret_cast<const unsigned char*>(abc.words.data());
  EXPECT_EQ(bytes[0], 0xba);
  EXPECT_EQ(bytes[1], 0x78);
  EXPECT_EQ(bytes[31], 0xad);

  std::vector<RowName> rows(64, 14), others = rows, another_form = rows;
  others[63] = 16;
  another_form[63] = 15;
  const BlockKey a = keys.root("a"), b = keys.root("b");
  const auto all = {keys.next(a, rows), keys.next(a, others), keys.next(b, rows), keys.next(a, another_form),
                    keys.next(keys.next(a, rows), rows)};
  for (const BlockKey& x : all) EXPECT_EQ(std::count(all.begin(), all.end(), x), 1);
  EXPECT_EQ(keys.next(a, others), keys.next(a, others));
}

}  // namespace cachalot
