// Recurrent layers and what the cache gives back: the logits are the same, bit for bit, as a cold engine's.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "recurrent/models.h"
#include "support/kernels.h"
#include "support/logits_spy.h"

namespace cachalot::testing {
namespace {

struct Answer {
  Tokens tokens;
  int cached_tokens = 0, drafted = 0, accepted = 0;
};
using Answers = std::map<std::pair<RequestId, int>, Answer>;

// With recurrent layers alone, or among others.
class RecurrentReuse : public ::testing::TestWithParam<bool> {
 protected:
  const ModelSpec spec = model_spec(GetParam());
  Model model = cpu_model(spec, best_kernels());
  LogitsSpy ops{*model.ops, spec.vocab};
  EngineOptions options{.context = 500, .cache_tokens = 6000, .scheduler = {.max_sequences = 10}};

  static Request request(uint64_t text, int shared, int own, uint64_t seed = 5) {
    Request r{.prompt = some_tokens(shared, 61, text), .sampling = {.seed = seed}, .max_tokens = 100};
    const Tokens end = some_tokens(own, 61, 100 + seed);
    r.prompt.insert(r.prompt.end(), end.begin(), end.end());
    return r;
  }
  static Answers run(Engine& engine) {
    Answers answers;
    while (!engine.idle()) {
      for (const Event& event : engine.step()) {
        EXPECT_EQ(event.error, "");
        Answer& a = answers[{event.request, event.answer}];
        if (event.token) a.tokens.push_back(*event.token);
        a.cached_tokens = event.cached_tokens;
        a.drafted += event.drafted;
        a.accepted += event.accepted;
      }
      engine.check_invariants();
    }
    EXPECT_EQ(engine.cache().states().in_use(), 0);
    return answers;
  }

  struct Alone {
    Tokens tokens;
    std::vector<LogitsSpy::Row> rows;
  };
  Alone alone(const Request& r) {
    Engine engine(ops, model.transformer, options);
    ops.rows().clear();
    const auto id = engine.submit(r);
    Alone result{run(engine).at({id, 0}).tokens, ops.rows()};
    ops.rows().clear();
    return result;
  }
  void expect_same(const Alone& want, const Answer& got) {
    EXPECT_EQ(got.tokens, want.tokens);
    const std::set<LogitsSpy::Row> seen(ops.rows().begin(), ops.rows().end());
    for (const auto& row : want.rows) ASSERT_TRUE(seen.contains(row));
  }
};

TEST_P(RecurrentReuse, APrefixIsFoundWhereASnapshotOfItIs) {
  const Request first = request(1, 150, 0), longer = request(1, 150, 60), other = request(1, 100, 70);
  const Alone want = alone(longer), without = alone(other), again = alone(first);
  Engine engine(ops, model.transformer, options);
  const auto answer = [&](const Request& r) {
    const auto id = engine.submit(r);
    return run(engine).at({id, 0});
  };
  answer(first);
  EXPECT_EQ(engine.cache().statistics().snapshots, 2) << "where its prompt ends, and where its answer does";
  const Answer got = answer(longer);
  EXPECT_EQ(got.cached_tokens, 128);
  expect_same(want, got);
  const Answer none = answer(other);
  EXPECT_EQ(none.cached_tokens, 0) << "the blocks are there, but no snapshot";
  expect_same(without, none);
  const Answer same = answer(first);
  EXPECT_EQ(same.cached_tokens, 128);
  expect_same(again, same);
  EXPECT_GE(engine.cache().statistics().state_copies, 2);
}

TEST_P(RecurrentReuse, TheNextTurnFindsTheStateWhereTheAnswerEnded) {
  Engine engine(ops, model.transformer, options);
  Request r = request(1, 90, 0);
  const auto once = engine.submit(r);
  const Tokens answer = run(engine).at({once, 0}).tokens;
  r.prompt.insert(r.prompt.end(), answer.begin(), answer.end());
  r.prompt.push_back(7);
  const Alone want = alone(r);
  const auto twice = engine.submit(r);
  const Answer got = run(engine).at({twice, 0});
  EXPECT_EQ(got.cached_tokens, (90 + 100 - 2) / kBlockTokens * kBlockTokens);
  expect_same(want, got);
}

TEST_P(RecurrentReuse, EightAtOnceAndASecondTimeAndAsSeveralAnswers) {
  std::vector<Request> requests;
  std::vector<Alone> wanted;
  for (uint64_t i = 0; i < 8; ++i) {
    requests.push_back(request(i / 3, 70 + 40 * static_cast<int>(i / 3), static_cast<int>(11 * i), i));
    wanted.push_back(alone(requests.back()));
  }
  Engine engine(ops, model.transformer, options);
  for (const bool again : {false, true}) {
    std::vector<RequestId> ids;
    for (Request& r : requests) ids.push_back(engine.submit(r));
    const Answers answers = run(engine);
    for (size_t i = 0; i < ids.size(); ++i) expect_same(wanted[i], answers.at({ids[i], 0}));
    EXPECT_EQ(engine.statistics().found > 0, again);
  }
  for (const int at_once : {10, 2}) {
    Request r = request(9, 100, 0);
    std::vector<Alone> each;
    for (int i = 0; i < 4; ++i, ++r.sampling.seed) each.push_back(alone(r));
    r.sampling.seed = 5;
    r.answers = 4;
    EngineOptions few = options;
    few.scheduler.max_sequences = at_once;
    Engine forking(ops, model.transformer, few);
    const auto id = forking.submit(r);
    const Answers answers = run(forking);
    for (int i = 0; i < 4; ++i) expect_same(each[static_cast<size_t>(i)], answers.at({id, i}));
    EXPECT_EQ(forking.statistics().forked, 3);
    EXPECT_GT(forking.cache().statistics().state_copies, 0);
  }
}

TEST_P(RecurrentReuse, AfterItHadToGiveWay) {
  if (!GetParam()) return;  // states alone never run out
  std::vector<Request> requests;
  std::vector<Alone> wanted;
  for (uint64_t i = 0; i < 4; ++i) {
    requests.push_back(request(i, 145 - 15 * static_cast<int>(i), 0, i));
    requests.back().max_tokens = 150;
    wanted.push_back(alone(requests.back()));
  }
  EngineOptions tight = options;
  tight.cache_tokens = 11 * kBlockTokens;
  Engine engine(ops, model.transformer, tight);
  std::vector<RequestId> ids;
  for (const Request& r : requests) ids.push_back(engine.submit(r));
  const Answers answers = run(engine);
  for (size_t i = 0; i < ids.size(); ++i) expect_same(wanted[i], answers.at({ids[i], 0}));
  EXPECT_GT(engine.statistics().preempted, 0);
  EXPECT_GT(engine.statistics().rows_again, 0);
  EXPECT_GT(engine.statistics().found, 0) << "it left a snapshot";
}

TEST_P(RecurrentReuse, RefusedDraftsLeaveNoTraceInWhatIsFoundLater) {
  Request first = request(1, 12, 0), second = first;
  for (Request* r : {&first, &second}) {
    for (int i = 0; i < 3; ++i) r->prompt.insert(r->prompt.end(), r->prompt.begin(), r->prompt.end());
    r->max_tokens = 150;
  }
  const Alone want = alone(second);
  EngineOptions drafting = options;
  drafting.speculation = Speculation::lookup;
  drafting.lookup_drafts = kBlockTokens - 1;
  Engine engine(ops, model.transformer, drafting);
  const auto once = engine.submit(first);
  const Answer guessed = run(engine).at({once, 0});
  EXPECT_GT(guessed.drafted, guessed.accepted + kBlockTokens);
  Request turn = first;  // the prompt and the answer that was made with drafts
  turn.prompt.insert(turn.prompt.end(), guessed.tokens.begin(), guessed.tokens.end());
  turn.prompt.push_back(3);
  const Alone next = alone(turn);
  const auto id = engine.submit(turn);
  const Answer got = run(engine).at({id, 0});
  EXPECT_EQ(got.cached_tokens, (96 + 150 - 2) / kBlockTokens * kBlockTokens);
  expect_same(next, got);
  const auto twice = engine.submit(second);
  const Answer again = run(engine).at({twice, 0});
  EXPECT_EQ(again.cached_tokens, 64);
  expect_same(want, again);
}

TEST_P(RecurrentReuse, SnapshotsAreBounded) {
  EngineOptions few = options;
  few.scheduler.max_sequences = 1;
  few.scheduler.state_snapshots = 1;
  Engine engine(ops, model.transformer, few);
  for (uint64_t text = 1; text <= 4; ++text) {
    engine.submit(request(text, 100, 0));
    run(engine);
  }
  EXPECT_EQ(engine.cache().states().reusable(), 2);
  EXPECT_GT(engine.cache().statistics().evictions, 0);
  const Request last = request(4, 100, 0);
  const Alone want = alone(last);
  const auto id = engine.submit(last);
  const Answer got = run(engine).at({id, 0});
  EXPECT_EQ(got.cached_tokens, 64);
  expect_same(want, got);
}

INSTANTIATE_TEST_SUITE_P(Models, RecurrentReuse, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "mixed" : "recurrent_alone"; });

}  // namespace
}  // namespace cachalot::testing
