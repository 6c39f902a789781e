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

TEST(Scheduler, WhenTheCacheIsFullTheLatestGivesWayAndIsComputedAgain) {
  Scheduler scheduler({.max_rows = 512}, BlockPool({4}), {0});
  scheduler.add(sequence(1, 120));
  scheduler.add(sequence(2, 120));
  run(scheduler, scheduler.next());  // two blocks each: the cache is full
  bool preempted = false;
  for (int step = 0; step < 40; ++step) {
    const auto works = scheduler.next();
    ASSERT_TRUE(rows(works).contains(1)) << "the first sequence always advances";
    preempted = preempted || !rows(works).contains(2);
    run(scheduler, works);
  }
  EXPECT_TRUE(preempted);
  scheduler.remove(1);
  const auto works = scheduler.next();
  ASSERT_EQ(works.size(), 1u);
  EXPECT_EQ(works[0].rows, static_cast<int>(works[0].sequence->tokens.size()))
      << "computed again from its first token";
  EXPECT_GT(works[0].rows, 120) << "with what it had";
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
