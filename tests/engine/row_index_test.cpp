// Which block begins with most of given rows: always the right one, and as fast whatever others ask for.
#include "engine/row_index.h"

#include <gtest/gtest.h>

#include <ctime>
#include <map>

#include "base/random.h"

namespace cachalot {
namespace {

using Rows = std::vector<RowName>;

BlockKey key(uint64_t i) { return {.words = {i, 0, 0, 1}}; }

size_t common_beginning(const Rows& a, const Rows& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

TEST(RowIndex, FindsTheLongestBeginningThatThereIs) {
  Random random(1);
  const auto below = [&](int n) { return static_cast<int>(random.next() % static_cast<uint64_t>(n)); };
  RowIndex index(50);
  std::map<int32_t, std::pair<uint64_t, Rows>> there;
  const auto longest = [&](uint64_t before, const Rows& rows) {
    size_t best = 0;
    for (const auto& [block, known] : there)
      if (known.first == before) best = std::max(best, common_beginning(known.second, rows));
    return static_cast<int>(best);
  };
  int found = 0;
  for (int i = 0; i < 20000; ++i) {
    Rows rows(static_cast<size_t>(1 + below(kBlockTokens)));
    for (RowName& row : rows) row = below(8) == 0 ? 3 : 2;
    const auto before = static_cast<uint64_t>(below(3));
    const auto nearest = index.nearest(key(before), rows);
    ASSERT_EQ(nearest.rows, longest(before, rows));
    if (nearest.rows > 0) {
      const auto& [known_before, known] = there.at(nearest.block);
      ASSERT_EQ(known_before, before);
      ASSERT_EQ(common_beginning(known, rows), static_cast<size_t>(nearest.rows));
      found += nearest.rows > 2;
    }
    const int32_t block = below(50);
    if (there.erase(block) > 0) index.erase(block);
    if (longest(before, rows) < std::ssize(rows)) {
      index.insert(block, key(before), rows);
      there[block] = {before, rows};
    }
    ASSERT_EQ(index.rows(block), there.contains(block) ? std::ssize(rows) : 0);
    index.check_invariants();
  }
  EXPECT_GT(found, 10000);
}

// Seconds of this thread that each of `count` texts takes to be looked for and named. They stand behind one text and
// leave one another at row `differ`.
double seconds_of_each(int count, int differ) {
  RowIndex index(count);
  Rows rows(kBlockTokens, 2);
  const auto text = [&](int i) -> const Rows& {
    rows[static_cast<size_t>(differ)] = static_cast<RowName>(i) * 7919 % (1 << 20);
    return rows;
  };
  const std::clock_t start = std::clock();
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(index.nearest(key(1), text(i)).rows, i == 0 ? 0 : differ);
    index.insert(i, key(1), text(i));
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / count;
}

TEST(RowIndex, TenThousandTextsThatBeginAlikeAreNoSlowerThanAHundred) {
  for (const int differ : {0, 1, 32, 63}) {
    double few = 1, many = 1;  // the least of several: the machine has other things to do
    for (int i = 0; i < 5; ++i) few = std::min(few, seconds_of_each(100, differ));
    for (int i = 0; i < 5; ++i) many = std::min(many, seconds_of_each(10000, differ));
    EXPECT_LT(many, 20 * few) << "they leave one another at row " << differ;
  }
}

}  // namespace
}  // namespace cachalot
