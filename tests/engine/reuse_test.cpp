// What the cache gives back are the bits that a cold engine computes: of every logit that chooses a token, whether
// its sequence runs alone, after another that began alike, among others, after it had to give way, as one of several
// answers, or with drafts. Each test counts that what it is about has happened.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "engine/engine.h"
#include "support/goldens.h"
#include "support/logits_spy.h"

namespace cachalot::testing {
namespace {

using Tokens = std::vector<int32_t>;

Tokens some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  Tokens tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}
Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int common_beginning(const Tokens& a, const Tokens& b) {
  return static_cast<int>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

struct Answer {
  Tokens tokens;
  int cached_tokens = 0, accepted = 0;
  std::optional<FinishReason> finished;
};
using Answers = std::map<std::pair<RequestId, int>, Answer>;

Answers run(Engine& engine) {
  Answers answers;
  for (int steps = 0; !engine.idle() && steps < 20000; ++steps) {
    for (const Event& event : engine.step()) {
      Answer& a = answers[{event.request, event.answer}];
      EXPECT_FALSE(a.finished) << "an event after the end";
      EXPECT_EQ(event.error, "");
      if (event.token) a.tokens.push_back(*event.token);
      a.cached_tokens = event.cached_tokens;
      a.accepted += event.accepted;
      a.finished = event.finished;
    }
    engine.check_invariants();
  }
  for (int g = 0; g < engine.cache().groups(); ++g) EXPECT_EQ(engine.cache().pool(g).in_use(), 0);
  return answers;
}

struct Mode {
  const char* path;
  DType weights, kv;
};

class Reuse : public ::testing::TestWithParam<Mode> {
 protected:
  TestModel model{golden_root() / GetParam().path, best_kernels(), GetParam().weights};
  LogitsSpy ops{model.ops, model.transformer.spec().vocab};
  const int vocab = model.transformer.spec().vocab;

  EngineOptions options() const {
    return {.context = 640, .cache_tokens = 8 * 640, .kv = GetParam().kv, .scheduler = {.max_sequences = 16}};
  }
  bool latent() const { return std::holds_alternative<MlaSpec>(model.transformer.spec().layers[0].attention); }
  bool depends_on_length() const {
    for (const RopeSpec& rope : model.transformer.ropes())
      if (rope.depends_on_length()) return true;
    return false;
  }

  // A request whose prompt begins with `shared` tokens of the `text`-th text.
  Request request(int text, int shared, int own, uint64_t seed = 5) const {
    return {.prompt = some_tokens(shared, vocab, static_cast<uint64_t>(text)) + some_tokens(own, vocab, 100 + seed),
            .sampling = {.temperature = 1, .seed = seed},
            .max_tokens = 40,
            .end_tokens = {}};
  }
  struct Alone {
    Tokens tokens;
    std::vector<LogitsSpy::Row> rows;
  };
  Alone alone(const Request& request) {
    ops.rows().clear();
    Engine engine(ops, model.transformer, options());
    const auto id = engine.submit(request);
    Alone result{run(engine).at({id, 0}).tokens, ops.rows()};
    ops.rows().clear();
    EXPECT_EQ(result.tokens.size(), result.rows.size());
    return result;
  }
  void expect_same(const Alone& want, const Answer& got, const char* how) {
    EXPECT_EQ(got.tokens, want.tokens) << how;
    const std::set<LogitsSpy::Row> seen(ops.rows().begin(), ops.rows().end());
    for (size_t i = 0; i < want.rows.size(); ++i)
      ASSERT_TRUE(seen.contains(want.rows[i])) << how << ": the logits of token " << i << " have other bits";
  }
};

// Up to the row where the second prompt leaves the first one, wherever in a block that is, and in a block that the
// first one filled as well as in its last.
TEST_P(Reuse, AfterAPromptThatBeginsAlike) {
  int inside = 0;
  for (const auto& [shared, own] : {std::pair{70, 50},
                                    {200, 30},
                                    {128, 1},
                                    {129, 64},
                                    {64, 64},
                                    {1, 60},
                                    {63, 70},
                                    {65, 90},
                                    {100, 100},
                                    {127, 3},
                                    {190, 2},
                                    {191, 140},
                                    {30, 5}}) {
    SCOPED_TRACE(shared);
    const Request first = request(1, shared, own, 6), second = request(1, shared, own, 5);
    const Alone want = alone(second);
    Engine engine(ops, model.transformer, options());
    engine.submit(first);
    run(engine);
    const auto id = engine.submit(second);
    const Answer got = run(engine).at({id, 0});
    EXPECT_EQ(got.cached_tokens, std::min(common_beginning(first.prompt, second.prompt), shared + own - 1));
    EXPECT_EQ(engine.statistics().found_tokens, got.cached_tokens);
    EXPECT_EQ(engine.statistics().found_inside_tokens, got.cached_tokens % kBlockTokens);
    inside += static_cast<int>(engine.statistics().found_inside);
    expect_same(want, got, "after a prompt that begins alike");
  }
  EXPECT_GE(inside, 9);
}

// Who waits for it knows from its first step on what was cached.
TEST_P(Reuse, OfALongPromptIsToldWhenItBegins) {
  EngineOptions small = options();
  small.scheduler.max_rows = 32;
  Engine engine(ops, model.transformer, small);
  engine.submit(request(1, 64, 30, 2));
  run(engine);
  engine.submit(request(1, 64, 200, 2));
  const std::vector<Event> first = engine.step();
  ASSERT_EQ(first.size(), 1);
  EXPECT_FALSE(first[0].token || first[0].finished);
  EXPECT_GE(first[0].cached_tokens, depends_on_length() || latent() ? 0 : 64);
  EXPECT_GT(first[0].begun, 0);
  EXPECT_TRUE(engine.step().empty()) << "it is told once";
  const int cached = first[0].cached_tokens;
  for (const auto& [id, answer] : run(engine)) EXPECT_EQ(answer.cached_tokens, cached);
}

TEST_P(Reuse, TheSamePromptAgainComputesOneRow) {
  for (const int tokens : {1, 2, 63, 64, 65, 127, 128, 129, 191, 192, 193, 243, 320}) {
    SCOPED_TRACE(tokens);
    const Request r = request(1, tokens, 0);
    const Alone want = alone(r);
    Engine engine(ops, model.transformer, options());
    for (int again = 0; again < 3; ++again) {
      const auto id = engine.submit(r);
      const Answer got = run(engine).at({id, 0});
      EXPECT_EQ(got.cached_tokens, again > 0 ? tokens - 1 : 0);
      expect_same(want, got, "the same prompt again");
    }
  }
}

// Those that find rows of a block copy it, whose owner goes on, with drafts or without, and ends before or after
// them.
TEST_P(Reuse, RowsOfABlockThatIsStillBeingFilled) {
  for (const Speculation form : {Speculation::off, Speculation::lookup})
    for (const size_t tokens : {1, 8, 30, 40}) {
      SCOPED_TRACE(tokens);
      Request owner = request(1, 40, 0, 6), other = request(1, 0, 0, 7), same = request(1, 0, 0, 8);
      owner.prompt = owner.prompt + owner.prompt;  // something to guess by
      owner.sampling.temperature = 0.2;
      other.prompt = Tokens(owner.prompt.begin(), owner.prompt.begin() + 70) + some_tokens(10, vocab, 9);
      same.prompt = owner.prompt;
      const Alone want = alone(owner), want_other = alone(other), want_same = alone(same);
      EngineOptions drafting = options();
      drafting.speculation = form;
      Engine engine(ops, model.transformer, drafting);
      Answers answers;
      const auto note = [&](const Event& event) {
        Answer& a = answers[{event.request, event.answer}];
        if (event.token) a.tokens.push_back(*event.token);
        a.cached_tokens = event.cached_tokens;
      };
      const auto id = engine.submit(owner);
      while (answers[{id, 0}].tokens.size() < tokens)
        for (const Event& event : engine.step()) note(event);
      const auto id_other = engine.submit(other), id_same = engine.submit(same);
      while (!engine.idle()) {
        for (const Event& event : engine.step()) note(event);
        engine.check_invariants();
      }
      expect_same(want, answers.at({id, 0}), "the owner");
      expect_same(want_other, answers.at({id_other, 0}), "who has a beginning of its last block");
      expect_same(want_same, answers.at({id_same, 0}), "who asks the same");
      EXPECT_EQ(answers.at({id_other, 0}).cached_tokens, common_beginning(other.prompt, owner.prompt));
      EXPECT_EQ(answers.at({id_same, 0}).cached_tokens, 79);
      EXPECT_EQ(engine.statistics().found_inside, 2);
      EXPECT_GE(engine.cache().statistics().block_copies, 2);
    }
}

// The second turn of a conversation has the first and its answer as its prompt. The declared length is another one,
// so where that matters nothing can be found.
TEST_P(Reuse, TheNextTurnFindsThePromptAndTheAnswer) {
  for (const int prompt : {40, 90, 200}) {
    SCOPED_TRACE(prompt);
    Engine engine(ops, model.transformer, options());
    Request first = request(1, prompt, 0);
    first.max_tokens = 150;
    const auto once = engine.submit(first);
    const Answer answer = run(engine).at({once, 0});
    Request second = request(1, 0, 30);
    second.prompt = first.prompt + answer.tokens + second.prompt;
    const int known = prompt + 150;  // all but the last one are computed
    second.absorbed = {{prompt, known}};
    const Alone want = alone(second);
    const auto twice = engine.submit(second);
    const Answer got = run(engine).at({twice, 0});
    EXPECT_EQ(got.cached_tokens, depends_on_length() ? 0 : known - 1);
    expect_same(want, got, "the next turn");
    // Without the span the answer's rows take another form in MLA, so they must not be found.
    second.absorbed = {};
    second.sampling.seed = 9;
    const Alone expanded = alone(second);
    const auto third = engine.submit(second);
    const Answer other = run(engine).at({third, 0});
    const int same_form = !latent() ? known + 30 - 1 : prompt < kExpandedFromTokens ? 0 : prompt;
    EXPECT_EQ(other.cached_tokens, same_form);
    expect_same(expanded, other, "expanded");
  }
}

TEST_P(Reuse, AmongEightOthersThatBeginAlike) {
  const Request r = request(1, 150, 40);
  const Alone want = alone(r);
  Engine engine(ops, model.transformer, options());
  for (int i = 0; i < 4; ++i)
    engine.submit(request(1 + i % 2, 150, 40 - 9 * i * (i % 2), 20 + static_cast<uint64_t>(i)));
  for (int i = 0; i < 12; ++i) engine.step();
  const auto id = engine.submit(r);
  const auto again = engine.submit(r);  // the same twice, side by side in one step
  for (int i = 0; i < 4; ++i) engine.submit(request(1, 150, 40, 30 + static_cast<uint64_t>(i)));
  const Answers answers = run(engine);
  expect_same(want, answers.at({id, 0}), "among others");
  expect_same(want, answers.at({again, 0}), "beside itself");
  EXPECT_GE(answers.at({id, 0}).cached_tokens, 150);
  EXPECT_GE(answers.at({again, 0}).cached_tokens, 150);
  EXPECT_GT(engine.statistics().found, 3);
}

TEST_P(Reuse, AfterItHadToGiveWay) {
  std::vector<Request> requests;
  std::vector<Alone> wanted;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(request(i, 145 - 15 * i, 0, static_cast<uint64_t>(i)));
    requests.back().max_tokens = 150;
    wanted.push_back(alone(requests.back()));
  }
  EngineOptions tight = options();
  tight.cache_tokens = 11 * kBlockTokens;
  Engine engine(ops, model.transformer, tight);
  std::vector<RequestId> ids;
  for (const Request& r : requests) ids.push_back(engine.submit(r));
  const Answers answers = run(engine);
  for (size_t i = 0; i < ids.size(); ++i) expect_same(wanted[i], answers.at({ids[i], 0}), "after a preemption");
  bool all_windowed = true;
  for (int g = 0; g < engine.cache().groups(); ++g) all_windowed = all_windowed && engine.cache().window(g) > 0;
  if (all_windowed) return;  // then there is room for everyone
  EXPECT_GT(engine.statistics().preempted, 0);
  EXPECT_GT(engine.statistics().paused, 0);
  EXPECT_GT(engine.statistics().rows_again, 0);
}

TEST_P(Reuse, AsOneOfSeveralAnswers) {
  for (const int prompt : {50, 64, 150, 192}) {
    SCOPED_TRACE(prompt);
    for (const int at_once : {16, 2}) {
      Request r = request(1, prompt, 0);
      std::vector<Alone> wanted;
      for (int i = 0; i < 5; ++i) {
        wanted.push_back(alone(r));
        ++r.sampling.seed;
      }
      r.sampling.seed = 5;
      r.answers = 5;
      EngineOptions few = options();
      few.scheduler.max_sequences = at_once;
      Engine engine(ops, model.transformer, few);
      const auto id = engine.submit(r);
      const Answers answers = run(engine);
      ASSERT_EQ(answers.size(), 5u);
      for (int i = 0; i < 5; ++i) expect_same(wanted[static_cast<size_t>(i)], answers.at({id, i}), "one of five");
      EXPECT_EQ(engine.statistics().forked, 4);
      if (at_once == 16) {
        EXPECT_EQ(engine.cache().statistics().block_copies,
                  prompt % kBlockTokens == 0 ? 0 : 4 * engine.cache().groups());
      }
      if (at_once == 16) { EXPECT_LT(engine.statistics().rows, prompt + 5 * 40) << "the prompt is computed once"; }
    }
  }
}

TEST_P(Reuse, WithDrafts) {
  std::vector<Speculation> forms = {Speculation::lookup};
  if (!model.transformer.spec().mtp.empty()) forms.push_back(Speculation::mtp);
  for (const Speculation form : forms) {
    Request first = request(1, 10, 0), second = first;
    for (Request* r : {&first, &second}) {
      for (int i = 0; i < 4; ++i) r->prompt = r->prompt + r->prompt;  // 160 tokens that repeat themselves
      r->sampling.temperature = 0.2;
      r->max_tokens = 120;
    }
    second.prompt.push_back(3), first.prompt.push_back(4);
    const Alone want = alone(second);
    EngineOptions drafting = options();
    drafting.speculation = form;
    Engine engine(ops, model.transformer, drafting);
    engine.submit(first);
    run(engine);
    second.answers = 3;
    const auto id = engine.submit(second);
    const Answers answers = run(engine);
    int accepted = 0;
    for (const auto& [key, a] : answers) accepted += a.accepted;
    EXPECT_GT(accepted, 0) << "nothing was guessed right, so nothing is proved";
    // A module's row of the last one that is in common knows what followed it there.
    EXPECT_EQ(answers.at({id, 0}).cached_tokens, form == Speculation::mtp ? 159 : 160);
    expect_same(want, answers.at({id, 0}), "with drafts");
  }
}

TEST_P(Reuse, NothingIsFoundAcrossSaltsNorWhereItIsNotWanted) {
  Request r = request(1, 200, 0);
  const Alone want = alone(r);
  Engine engine(ops, model.transformer, options());
  const auto cached = [&](const Request& request) {
    const auto id = engine.submit(request);
    const Answer got = run(engine).at({id, 0});
    expect_same(want, got, "with another salt");
    return got.cached_tokens;
  };
  EXPECT_EQ(cached(r), 0);
  r.salt = "a";
  EXPECT_EQ(cached(r), 0);
  r.salt = "b";
  EXPECT_EQ(cached(r), 0);
  EXPECT_EQ(cached(r), 199);
  r.salt = {};
  EXPECT_EQ(cached(r), 199);
  r.computed_from = 100;
  EXPECT_EQ(cached(r), 100);
  r.computed_from = 0;
  EXPECT_EQ(cached(r), 0);

  EngineOptions without = options();
  without.scheduler.reuse = false;
  Engine cold(ops, model.transformer, without);
  for (int i = 0; i < 2; ++i) {
    const auto id = cold.submit(request(1, 200, 0));
    EXPECT_EQ(run(cold).at({id, 0}).cached_tokens, 0);
  }
}

std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  std::string label = case_name(info.param.path) + "_" + std::string(name(info.param.weights)) + "_" +
                      std::string(name(info.param.kv));
  std::replace(label.begin(), label.end(), '/', '_');
  return label;
}
INSTANTIATE_TEST_SUITE_P(
    Models, Reuse,
    ::testing::Values(
        Mode{"qwen3/plain", DType::f32, DType::f32}, Mode{"qwen3/plain", DType::bf16, DType::q8_0},
        Mode{"qwen2/window", DType::f32, DType::f32}, Mode{"qwen2/window", DType::bf16, DType::bf16},
        Mode{"qwen2/window", DType::bf16, DType::q8_0}, Mode{"qwen3/dynamic_window", DType::bf16, DType::bf16},
        Mode{"llama/dynamic", DType::f32, DType::f32}, Mode{"llama/dynamic", DType::bf16, DType::q8_0},
        Mode{"qwen/ntk_logn", DType::bf16, DType::bf16}, Mode{"deepseek_v2/plain", DType::f32, DType::f32},
        Mode{"deepseek_v2/plain", DType::bf16, DType::q8_0}, Mode{"deepseek_v3/mtp", DType::bf16, DType::bf16}),
    mode_name);

}  // namespace
}  // namespace cachalot::testing
