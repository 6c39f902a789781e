// The scheduler on its own: no tensors, no model.
#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "ops/batch.h"

namespace cachalot {

// Prompts of different sequences have no token in common.
static std::unique_ptr<Sequence> sequence(RequestId id, int prompt_tokens, std::string caller = {}) {
  auto s = std::make_unique<Sequence>();
  s->id = id;
  s->request.caller = std::move(caller);
  s->tokens.assign(static_cast<size_t>(prompt_tokens), static_cast<int32_t>(id));
  s->prompt_tokens = prompt_tokens;
  s->token_limit = 1 << 20;
  return s;
}

static Scheduler scheduler_of(SchedulerOptions options, std::vector<int> blocks, std::vector<int> windows = {0}) {
  options.step_seconds = 0;
  windows.resize(blocks.size());
  return {options, {.group_windows = windows, .blocks_of_group = blocks}};
}

using Works = std::vector<Scheduler::Work>;

// Commits the works and appends a token to every sequence that is computed to its end, as the engine does.
static void run(Scheduler& scheduler, const Works& works) {
  for (const auto& work : works) {
    const bool complete = work.rows == work.sequence->uncached();
    scheduler.commit(work, work.rows);
    if (complete) work.sequence->tokens.push_back(static_cast<int32_t>(work.sequence->id));
  }
  scheduler.check_invariants();
}

static Works next(Scheduler& scheduler) {
  Works works = scheduler.next().works;
  scheduler.check_invariants();
  return works;
}

static std::map<RequestId, int> rows(const Works& works) {
  std::map<RequestId, int> rows;
  for (const auto& work : works) rows[work.sequence->id] = work.rows;
  return rows;
}

TEST(Scheduler, PromptsAreCutIntoChunksOfTheRowBudget) {
  Scheduler scheduler = scheduler_of({.max_rows = 100}, {64});
  scheduler.add(sequence(1, 250));
  for (const int want : {100, 100, 50, 1, 1}) {
    const auto works = next(scheduler);
    EXPECT_EQ(rows(works), (std::map<RequestId, int>{{1, want}}));
    run(scheduler, works);
  }
}

TEST(Scheduler, DecodeTokensGoBeforePromptsAndShareTheStep) {
  Scheduler scheduler = scheduler_of({.max_rows = 100}, {64});
  scheduler.add(sequence(1, 10));
  run(scheduler, next(scheduler));
  scheduler.add(sequence(2, 500));
  scheduler.add(sequence(3, 20));
  EXPECT_EQ(rows(next(scheduler)), (std::map<RequestId, int>{{1, 1}, {2, 79}, {3, 20}}));
}

TEST(Scheduler, AStepHoldsAtMostMaxSequences) {
  Scheduler scheduler = scheduler_of({.max_rows = 100, .max_sequences = 2}, {64});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 4));
  EXPECT_EQ(next(scheduler).size(), 2u);
}

TEST(Scheduler, TablesOfDifferentSequencesNeverShareABlock) {
  Scheduler scheduler = scheduler_of({.max_rows = 512}, {16, 16});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 130));
  for (int step = 0; step < 60; ++step) {
    const auto works = next(scheduler);
    for (size_t group = 0; group < 2; ++group) {
      std::set<int32_t> blocks;
      for (const auto& work : works) {
        const auto& table = work.sequence->hold.tables[group];
        EXPECT_GE(static_cast<int>(table.size()) * kBlockTokens, work.sequence->cached + work.rows);
        for (const int32_t block : table) EXPECT_TRUE(blocks.insert(block).second);
      }
    }
    run(scheduler, works);
  }
}

TEST(Scheduler, WhoWaitsIsAdmittedWhenAllThatEveryoneHasAndABlockMoreOfEachFits) {
  for (const auto& [blocks, admitted] : {std::pair{5, 1}, {6, 2}, {8, 2}, {9, 3}}) {
    Scheduler scheduler = scheduler_of({.max_rows = 512}, {blocks});
    for (RequestId id = 1; id <= 4; ++id) scheduler.add(sequence(id, 120));  // two blocks each
    EXPECT_EQ(static_cast<int>(next(scheduler).size()), admitted) << blocks << " blocks";
  }
  // One that ends within the blocks that it has needs none more.
  Scheduler scheduler = scheduler_of({.max_rows = 512}, {4});
  for (RequestId id = 1; id <= 2; ++id) {
    auto s = sequence(id, 120);
    s->token_limit = 128;
    scheduler.add(std::move(s));
  }
  EXPECT_EQ(next(scheduler).size(), 2u);
}

TEST(Scheduler, WhoeverCameLaterIsNotAdmittedBeforeWhoeverCameEarlier) {
  Scheduler scheduler = scheduler_of({.max_rows = 512}, {8});
  scheduler.add(sequence(1, 200));
  scheduler.add(sequence(2, 400));
  scheduler.add(sequence(3, 10));
  EXPECT_EQ(rows(next(scheduler)), (std::map<RequestId, int>{{1, 200}})) << "3 would fit";
}

TEST(Scheduler, WhenTheCacheIsFullTheLatestPausesThenGivesWayAndGoesOnWithWhatIsLeft) {
  for (const bool reuse : {false, true}) {
    Scheduler scheduler = scheduler_of({.max_rows = 512, .reuse = reuse}, {7});
    scheduler.add(sequence(1, 120));
    scheduler.add(sequence(2, 120));
    const Sequence* latest = nullptr;
    bool waited = false, preempted = false;
    for (int step = 0; step < 200; ++step) {
      const auto works = next(scheduler);
      const auto planned = rows(works);
      ASSERT_TRUE(planned.contains(1)) << "the first sequence always advances";
      if (!latest) latest = works.back().sequence;
      if (latest->cached > 0 && !planned.contains(2)) {
        waited = true;
        EXPECT_EQ(latest->cached, 192) << "with the blocks that it has";
      }
      preempted = preempted || (latest->cached == 0 && step > 0);
      EXPECT_FALSE(preempted && planned.contains(2)) << "it is not to come back while the cache is as full";
      run(scheduler, works);
    }
    EXPECT_TRUE(waited);
    EXPECT_TRUE(preempted);
    EXPECT_EQ(scheduler.statistics().preempted, 1);
    EXPECT_GT(scheduler.statistics().paused, 20);
    scheduler.remove(1);
    const auto works = next(scheduler);
    ASSERT_EQ(works.size(), 1u);
    EXPECT_EQ(works[0].sequence->tokens.size(), 193u) << "with what it had";
    EXPECT_EQ(works[0].sequence->cached, reuse ? 128 : 0) << "of its three blocks the first took the last";
    EXPECT_EQ(works[0].rows, 193 - works[0].sequence->cached);
    run(scheduler, works);
    EXPECT_EQ(scheduler.statistics().rows_again, reuse ? 64 : 192);
  }
}

TEST(Scheduler, WhoLacksABlockPausesAsLongAsThoseBeforeItGoOn) {
  Scheduler scheduler = scheduler_of({.max_rows = 512}, {9});
  scheduler.add(sequence(1, 100));
  scheduler.add(sequence(2, 126));
  scheduler.add(sequence(3, 110));
  std::vector<RequestId> paused;
  while (scheduler.statistics().preempted == 0) {
    const auto works = next(scheduler);
    if (scheduler.statistics().preempted == 0) {
      const auto planned = rows(works);
      for (RequestId id = 1; id <= 3; ++id)
        if (!planned.contains(id) && std::find(paused.begin(), paused.end(), id) == paused.end())
          paused.push_back(id);
    }
    run(scheduler, works);
  }
  EXPECT_EQ(paused, (std::vector<RequestId>{2, 3})) << "each where its block was full; the first one never";
  const auto planned = rows(next(scheduler));
  EXPECT_TRUE(planned.contains(1) && planned.contains(2)) << "with the blocks of the third";
  EXPECT_FALSE(planned.contains(3));
}

TEST(Scheduler, ALongPromptIsFoundToItsLastRowButOne) {
  for (const int tokens : {65535, 65536, 65537}) {
    Scheduler scheduler = scheduler_of({.max_rows = 4096}, {2100});
    for (const RequestId id : {1, 2}) {
      auto s = sequence(id, tokens);
      for (size_t i = 0; i < s->tokens.size(); ++i) s->tokens[i] = static_cast<int32_t>(i);
      scheduler.add(std::move(s));
      while (true) {
        const auto works = next(scheduler);
        const bool complete = works[0].choosing_rows() > 0;
        if (id == 2) {
          EXPECT_EQ(works[0].sequence->cached_tokens, tokens - 1);
          EXPECT_TRUE(complete);
        }
        run(scheduler, works);
        if (complete) break;
      }
      scheduler.remove(id);
    }
  }
}

TEST(Scheduler, PromptsShareAStepCallersFirstAndThenRequests) {
  Scheduler scheduler = scheduler_of({.max_rows = 120}, {400});
  scheduler.add(sequence(1, 5000, "a"));
  EXPECT_EQ(rows(next(scheduler)), (std::map<RequestId, int>{{1, 120}}));
  for (RequestId id = 2; id <= 4; ++id) scheduler.add(sequence(id, 3000, "a"));
  scheduler.add(sequence(5, 3000, "b"));
  EXPECT_EQ(rows(next(scheduler)), (std::map<RequestId, int>{{1, 15}, {2, 15}, {3, 15}, {4, 15}, {5, 60}}));
  scheduler.add(sequence(6, 10, "b"));
  scheduler.add(sequence(7, 4, "c"));
  const std::map<RequestId, int> all{{1, 15}, {2, 15}, {3, 14}, {4, 14}, {5, 48}, {6, 10}, {7, 4}};
  const auto works = next(scheduler);
  EXPECT_EQ(rows(works), all) << "what the short ones leave goes to the others";
  run(scheduler, works);
  EXPECT_EQ(rows(next(scheduler)).at(7), 1) << "and they decode";
}

TEST(Scheduler, ALongPromptDoesNotHoldUpAShortOne) {
  Scheduler scheduler = scheduler_of({.max_rows = 64}, {400});
  scheduler.add(sequence(1, 8000));
  for (int step = 0; step < 3; ++step) run(scheduler, next(scheduler));
  scheduler.add(sequence(2, 60));
  run(scheduler, next(scheduler));
  const auto works = next(scheduler);
  EXPECT_EQ(rows(works), (std::map<RequestId, int>{{1, 36}, {2, 28}}));
  run(scheduler, works);
  EXPECT_EQ(rows(next(scheduler)).at(2), 1) << "its first token came with the step before";
}

TEST(Scheduler, TheCallerForWhomTheLeastWasComputedIsNext) {
  Scheduler scheduler = scheduler_of({.max_rows = 100, .max_sequences = 1}, {64});
  for (RequestId id = 1; id <= 4; ++id) scheduler.add(sequence(id, 50, "greedy"));
  scheduler.add(sequence(5, 50, "modest"));
  scheduler.add(sequence(6, 50, "modest"));
  std::vector<RequestId> order;
  while (!scheduler.idle()) {
    const auto works = next(scheduler);
    order.push_back(works.at(0).sequence->id);
    scheduler.commit(works[0], works[0].rows);
    scheduler.remove(works[0].sequence->id);
  }
  EXPECT_EQ(order, (std::vector<RequestId>{1, 5, 2, 6, 3, 4}));
}

TEST(Scheduler, NobodyBeginsWhileOneThatHadBegunWaits) {
  Scheduler scheduler = scheduler_of({.max_rows = 512, .reuse = false}, {7});
  scheduler.add(sequence(1, 120, "a"));
  scheduler.add(sequence(2, 120, "a"));
  while (scheduler.statistics().preempted == 0) run(scheduler, next(scheduler));
  scheduler.add(sequence(3, 5, "b"));  // has had nothing, and fits
  for (int step = 0; step < 10; ++step) {
    const auto works = next(scheduler);
    EXPECT_EQ(rows(works).count(3), 0u);
    run(scheduler, works);
  }
  scheduler.remove(1);
  const auto works = next(scheduler);
  EXPECT_EQ(works.at(0).sequence->id, 2);
  EXPECT_EQ(works.at(1).sequence->id, 3);
}

TEST(Scheduler, SixtyFourAtOnceAllAdvance) {
  Scheduler scheduler = scheduler_of({.max_rows = 512, .max_sequences = 64}, {64 * 8});
  for (RequestId id = 1; id <= 70; ++id) scheduler.add(sequence(id, 20 + static_cast<int>(id)));
  int most = 0;
  for (int step = 0; step < 300; ++step) {
    const auto works = next(scheduler);
    most = std::max(most, static_cast<int>(works.size()));
    run(scheduler, works);
    if (step > 20) { EXPECT_EQ(works.size(), 64u); }
    for (const auto& work : works) EXPECT_GE(work.rows, 1);
  }
  EXPECT_EQ(most, 64);
}

// -- Several answers

static std::unique_ptr<Sequence> with_siblings(std::unique_ptr<Sequence> first, int siblings) {
  for (int i = 1; i <= siblings; ++i) {
    auto sibling = sequence(first->id, first->prompt_tokens, first->request.caller);
    sibling->answer = i;
    first->siblings.push_back(std::move(sibling));
  }
  return first;
}

static void fork_all(Scheduler& scheduler, Sequence& first) {
  while (!first.siblings.empty()) {
    Sequence& s = scheduler.fork(first);
    s.tokens.push_back(100 + s.answer);
  }
}

TEST(Scheduler, AnswersShareThePromptsBlocksAndCopyTheOneThatTheyWriteInto) {
  Scheduler scheduler = scheduler_of({.max_rows = 512}, {64});
  scheduler.add(with_siblings(sequence(1, 150), 3));
  auto works = next(scheduler);
  run(scheduler, works);
  EXPECT_EQ(scheduler.cache().pool(0).in_use(), 3);
  fork_all(scheduler, *works[0].sequence);
  EXPECT_EQ(scheduler.cache().pool(0).in_use(), 3) << "nothing is copied before it is written";
  const auto step = scheduler.next();
  scheduler.check_invariants();
  EXPECT_EQ(step.works.size(), 4u);
  EXPECT_EQ(scheduler.cache().pool(0).in_use(), 2 + 4) << "two full ones are shared";
  ASSERT_EQ(step.copies.size(), 3u) << "the first one writes into the original";
  for (const CacheCopy& c : step.copies) EXPECT_EQ(c.from, step.copies[0].from);
  EXPECT_EQ(step.works[0].sequence->hold.tables[0][2], step.copies[0].from);
  // One of them ends; the others keep what they have.
  run(scheduler, step.works);
  scheduler.remove(1, 2);
  EXPECT_EQ(scheduler.cache().pool(0).in_use(), 2 + 3);
  EXPECT_EQ(next(scheduler).size(), 3u);
}

TEST(Scheduler, WhenTheFirstAnswerEndsBeforeItsPromptIsComputedTheNextOneTakesOver) {
  Scheduler scheduler = scheduler_of({.max_rows = 100}, {64});
  scheduler.add(with_siblings(sequence(1, 250), 2));
  run(scheduler, next(scheduler));
  EXPECT_EQ(scheduler.remove(1, 0)->answer, 0);
  scheduler.check_invariants();
  auto works = next(scheduler);
  ASSERT_EQ(works.size(), 1u);
  EXPECT_EQ(works[0].sequence->answer, 1);
  EXPECT_EQ(works[0].sequence->cached, 100) << "what was computed is found";
  EXPECT_EQ(scheduler.remove(1, 2)->answer, 2) << "one that has not begun";
  EXPECT_EQ(scheduler.remove(1, 2), nullptr);
  EXPECT_EQ(scheduler.remove(1)->answer, 1);
  EXPECT_TRUE(scheduler.idle());
}

TEST(Scheduler, AnswersThatDoNotFitWaitForTheirTurn) {
  Scheduler scheduler = scheduler_of({.max_rows = 512, .max_sequences = 2}, {64});
  scheduler.add(with_siblings(sequence(1, 150), 3));
  auto works = next(scheduler);
  run(scheduler, works);
  fork_all(scheduler, *works[0].sequence);
  works = next(scheduler);
  EXPECT_EQ(works.size(), 2u);
  run(scheduler, works);
  scheduler.remove(1, 0);
  works = next(scheduler);
  ASSERT_EQ(works.size(), 2u);
  EXPECT_EQ(works[1].sequence->answer, 2);
  EXPECT_EQ(works[1].sequence->cached, 150);
  EXPECT_EQ(works[1].rows, 1) << "the token that it had is kept";
}

TEST(Scheduler, DraftsLeaveARowForEveryoneElse) {
  Scheduler scheduler = scheduler_of({.max_rows = 6}, {64});
  for (RequestId id = 1; id <= 3; ++id) scheduler.add(sequence(id, 2));
  run(scheduler, next(scheduler));
  auto works = next(scheduler);
  for (auto& work : works) work.sequence->drafts.assign(4, 1);
  EXPECT_EQ(rows(next(scheduler)), (std::map<RequestId, int>{{1, 4}, {2, 1}, {3, 1}}));
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
  Scheduler scheduler = scheduler_of({.max_rows = 64}, {40, 6}, {0, 100});
  scheduler.add(sequence(1, 2000));
  while (scheduler.cache().pool(0).available() > 8) {
    const auto works = next(scheduler);
    ASSERT_EQ(works.size(), 1u);
    run(scheduler, works);
    const Sequence& s = *works[0].sequence;
    for (int p = std::max(0, s.cached - 99); p < s.cached; ++p)
      EXPECT_GE(s.hold.tables[1][static_cast<size_t>(p / kBlockTokens)], 0)
          << "position " << p << " is still visible";
    EXPECT_GE(scheduler.cache().pool(1).available(), 2);
  }
}

TEST(Scheduler, RemovingGivesEveryBlockBack) {
  Scheduler scheduler = scheduler_of({.max_rows = 64}, {8, 8}, {0, 70});
  scheduler.add(sequence(1, 300));
  for (int i = 0; i < 4; ++i) run(scheduler, next(scheduler));
  EXPECT_EQ(scheduler.remove(1)->id, 1);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.cache().pool(0).available(), 8);
  EXPECT_EQ(scheduler.cache().pool(1).available(), 8);
  EXPECT_EQ(scheduler.remove(1), nullptr);
}

}  // namespace cachalot
