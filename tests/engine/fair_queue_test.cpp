// Who is next of those who wait.
#include "engine/fair_queue.h"

#include <gtest/gtest.h>

#include <set>

namespace cachalot {

class FairQueueTest : public ::testing::Test {
 protected:
  FairQueue queue;
  std::vector<std::unique_ptr<Sequence>> taken;
  RequestId last_id = 0;

  RequestId add(const std::string& caller) {
    auto s = std::make_unique<Sequence>();
    s->id = ++last_id;
    s->request.caller = caller;
    queue.add(std::move(s));
    return last_id;
  }
  // Computes rows for the one that is next; it has ended then.
  RequestId serve(int rows) {
    taken.push_back(queue.take(*queue.next()));
    queue.count(*taken.back(), rows);
    queue.forget(*taken.back());
    return taken.back()->id;
  }
};

TEST_F(FairQueueTest, OneCallersRequestsComeInTheirOrder) {
  for (int i = 0; i < 3; ++i) add("a");
  EXPECT_EQ(serve(10), 1);
  EXPECT_EQ(serve(10), 2);
  EXPECT_EQ(serve(10), 3);
  EXPECT_EQ(queue.next(), nullptr);
}

TEST_F(FairQueueTest, CallersGetTheSameNumberOfRowsHoweverLongTheirRequestsAre) {
  std::set<RequestId> long_ones;
  for (int i = 0; i < 20; ++i) add("short");
  for (int i = 0; i < 20; ++i) long_ones.insert(add("long"));
  int of_short = 0, of_long = 0;
  for (int i = 0; i < 20; ++i)
    if (long_ones.contains(queue.next()->id))
      serve(400), of_long += 400;
    else
      serve(100), of_short += 100;
  EXPECT_NEAR(of_short, of_long, 400);
}

TEST_F(FairQueueTest, WhatWasComputedLongAgoCountsLess) {
  add("a");
  serve(100000);
  add("b");
  serve(static_cast<int>(4 * FairQueue::kHalfLife));
  add("b"), add("a");
  EXPECT_EQ(queue.next()->id, 4) << "a's rows have decayed to a sixteenth";
}

TEST_F(FairQueueTest, NobodyWaitsForeverHoweverManyCallersComeAnew) {
  add("old");
  serve(1 << 20);
  const RequestId waits = add("old");
  int64_t rows = 0;
  for (int caller = 0;; ++caller, rows += 1000) {
    add("new" + std::to_string(caller));
    if (queue.next()->id == waits) break;
    serve(1000);
    ASSERT_LT(rows, 25 * static_cast<int64_t>(FairQueue::kHalfLife));
  }
  EXPECT_GT(rows, 10 * static_cast<int64_t>(FairQueue::kHalfLife));
}

}  // namespace cachalot
