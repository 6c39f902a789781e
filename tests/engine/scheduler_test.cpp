// The scheduler on its own: no tensors, no model.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "ops/batch.h"

namespace cachalot {

static std::unique_ptr<Sequence> sequence(RequestId id, int prompt_tokens) {
  auto s = std::make_unique<Sequence>();
  s->id = id;
  s->request.prompt.assign(static_cast<size_t>(prompt_tokens), 1);
  s->tokens = s->request.prompt;
  s->token_limit = 1 << 20;
  return s;
}

// Commits the works and appends a token to every sequence that is computed to its end, as the engine does.
static void run(Scheduler& scheduler, const std::vector<Scheduler::Work>& works) {
  for (const auto& work : works) {
    const bool complete = work.rows == work.sequence->uncached();
    scheduler.commit(work, work.rows);
    if (complete) work.sequence->tokens.push_back(1);
  }
}

static std::map<RequestId, int> rows(const std::vector<Scheduler::Work>& works) {
  std::map<RequestId, int> rows;
  for (const auto& work : works) rows[work.sequence->id] = work.rows;
  return rows;
}

TEST(Scheduler, PromptsAreCutIntoChunksOfTheRowBudget) {
  Scheduler scheduler({.max_rows = 100}, BlockPool({64}), {0});
  scheduler.add(sequence(1, 250));
  for (const int want : {100, 100, 50, 1, 1}) {
    const auto works = scheduler.next();
    EXPECT_EQ(rows(works), (std::map<RequestId, int>{{1, want}}));
    run(scheduler, works);
  }
}

TEST(Scheduler, DecodeTokensGoBeforePromptsAndShareTheStep) {
  Scheduler scheduler({.max_rows = 100}, BlockPool({64}), {0});
  scheduler.add(sequence(1, 10));
  run(scheduler, scheduler.next());
  scheduler.add(sequence(2, 500));
  scheduler.add(sequence(3, 20));
  EXPECT_EQ(rows(scheduler.next()), (std::map<RequestId, int>{{1, 1}, {2, 99}}));
}

TEST(Scheduler, AStepHoldsAtMostMaxSequences) {
  Scheduler scheduler({.max_rows = 100, .max_sequences = 2}, BlockPool({64}), {0});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 4));
  EXPECT_EQ(scheduler.next().size(), 2u);
}

TEST(Scheduler, TablesOfDifferentSequencesNeverShareABlock) {
  Scheduler scheduler({.max_rows = 512}, BlockPool({16, 16}), {0, 0});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 130));
  for (int step = 0; step < 60; ++step) {
    const auto works = scheduler.next();
    for (size_t group = 0; group < 2; ++group) {
      std::set<int32_t> blocks;
      for (const auto& work : works) {
        const auto& table = work.sequence->block_tables[group];
        EXPECT_GE(static_cast<int>(table.size()) * kBlockTokens, work.sequence->cached + work.rows);
        for (const int32_t block : table) EXPECT_TRUE(blocks.insert(block).second);
      }
    }
    run(scheduler, works);
  }
}

TEST(Scheduler, WhoWaitsIsAdmittedWhenAllThatEveryoneHasAndABlockMoreOfEachFits) {
  for (const auto& [blocks, admitted] : {std::pair{5, 1}, {6, 2}, {8, 2}, {9, 3}}) {
    Scheduler scheduler({.max_rows = 512}, BlockPool({blocks}), {0});
    for (RequestId id = 1; id <= 4; ++id) scheduler.add(sequence(id, 120));  // two blocks each
    EXPECT_EQ(static_cast<int>(scheduler.next().size()), admitted) << blocks << " blocks";
  }
  // One that ends within the blocks that it has needs none more.
  Scheduler scheduler({.max_rows = 512}, BlockPool({4}), {0});
  for (RequestId id = 1; id <= 2; ++id) {
    auto s = sequence(id, 120);
    s->token_limit = 128;
    scheduler.add(std::move(s));
  }
  EXPECT_EQ(scheduler.next().size(), 2u);
}

TEST(Scheduler, WhoeverCameLaterIsNotAdmittedBeforeWhoeverCameEarlier) {
  Scheduler scheduler({.max_rows = 512}, BlockPool({8}), {0});
  scheduler.add(sequence(1, 200));
  scheduler.add(sequence(2, 400));
  scheduler.add(sequence(3, 10));
  EXPECT_EQ(rows(scheduler.next()), (std::map<RequestId, int>{{1, 200}})) << "3 would fit";
}

TEST(Scheduler, WhenTheCacheIsFullTheLatestWaitsThenGivesWayAndIsComputedAgain) {
  Scheduler scheduler({.max_rows = 512}, BlockPool({7}), {0});
  scheduler.add(sequence(1, 120));
  scheduler.add(sequence(2, 120));
  const Sequence* latest = nullptr;
  bool waited = false, evicted = false;
  for (int step = 0; step < 200; ++step) {
    const auto works = scheduler.next();
    const auto planned = rows(works);
    ASSERT_TRUE(planned.contains(1)) << "the first sequence always advances";
    if (!latest) latest = works.back().sequence;
    if (latest->cached > 0 && !planned.contains(2)) {
      waited = true;
      EXPECT_EQ(latest->cached, 192) << "with the blocks that it has";
    }
    evicted = evicted || (latest->cached == 0 && step > 0);
    EXPECT_FALSE(evicted && planned.contains(2)) << "it is not to come back while the cache is as full";
    run(scheduler, works);
  }
  EXPECT_TRUE(waited);
  EXPECT_TRUE(evicted);
  scheduler.remove(1);
  const auto works = scheduler.next();
  ASSERT_EQ(works.size(), 1u);
  EXPECT_EQ(works[0].rows, static_cast<int>(works[0].sequence->tokens.size()))
      << "computed again from its first token";
  EXPECT_GT(works[0].rows, 120) << "with what it had";
}

TEST(Scheduler, DraftsLeaveARowForEveryoneElse) {
  Scheduler scheduler({.max_rows = 6}, BlockPool({64}), {0});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 2));
  run(scheduler, scheduler.next());
  auto works = scheduler.next();
  for (auto& work : works) work.sequence->drafts.assign(4, 1);
  EXPECT_EQ(rows(scheduler.next()), (std::map<RequestId, int>{{1, 4}, {2, 1}, {3, 1}}));
}

TEST(Scheduler, WindowedGroupsHoldTheWindowsOfAllThatMayRun) {
  const auto blocks = [](int64_t tokens, int max_sequences) {
    return blocks_for(std::vector<int>{0, 128}, tokens, {.max_rows = 512, .max_sequences = max_sequences});
  };
  EXPECT_EQ(blocks(65536, 1), (std::vector<int>{1024, 2 + 2 + 8}));
  EXPECT_EQ(blocks(65536, 64), (std::vector<int>{1024, 64 * (2 + 2) + 8}));
  EXPECT_EQ(blocks(640, 64), (std::vector<int>{10, 10})) << "no more than all tokens";
}

TEST(Scheduler, BlocksBehindAWindowAreGivenBack) {
  Scheduler scheduler({.max_rows = 64}, BlockPool({40, 6}), {0, 100});
  scheduler.add(sequence(1, 2000));
  while (scheduler.pool().free_blocks(0) > 8) {
    const auto works = scheduler.next();
    ASSERT_EQ(works.size(), 1u);
    run(scheduler, works);
    const Sequence& s = *works[0].sequence;
    for (int p = std::max(0, s.cached - 99); p < s.cached; ++p)
      EXPECT_GE(s.block_tables[1][static_cast<size_t>(p / kBlockTokens)], 0)
          << "position " << p << " is still visible";
    EXPECT_GE(scheduler.pool().free_blocks(1), 2);
  }
}

TEST(Scheduler, RemovingGivesEveryBlockBack) {
  Scheduler scheduler({.max_rows = 64}, BlockPool({8, 8}), {0, 70});
  scheduler.add(sequence(1, 300));
  for (int i = 0; i < 4; ++i) run(scheduler, scheduler.next());
  EXPECT_EQ(scheduler.remove(1)->id, 1);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.pool().free_blocks(0), 8);
  EXPECT_EQ(scheduler.pool().free_blocks(1), 8);
  EXPECT_EQ(scheduler.remove(1), nullptr);
}

}  // namespace cachalot
