// Log-probabilities of a prompt's tokens are those of its logits, as score() computes them, however the prompt is
// cut, whatever the cache holds, whoever runs besides, and also after it had to give way in the middle.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "engine/scoring.h"
#include "ops/forwarding.h"
#include "support/goldens.h"
#include "support/test_models.h"

namespace cachalot::testing {
namespace {

using Tokens = std::vector<int32_t>;
using Told = std::vector<std::vector<TokenLogprob>>;

Tokens some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  Tokens tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}

struct Answer {
  Told told;
  Tokens tokens;
  std::vector<TokenLogprob> logprobs;
  std::optional<FinishReason> finished;
  int cached_tokens = 0;
};

void take(std::vector<Event> events, std::map<std::pair<RequestId, int>, Answer>& answers) {
  for (Event& event : events) {
    Answer& a = answers[{event.request, event.answer}];
    EXPECT_FALSE(a.finished) << "an event after the end";
    EXPECT_EQ(event.error, "");
    EXPECT_TRUE(event.prompt_logprobs.empty() || a.tokens.empty()) << "the prompt comes before the answer";
    for (auto& entry : event.prompt_logprobs) a.told.push_back(std::move(entry));
    a.logprobs.insert(a.logprobs.end(), event.logprobs.begin(), event.logprobs.end());
    if (event.token) a.tokens.push_back(*event.token);
    a.finished = event.finished;
    a.cached_tokens = event.cached_tokens;
  }
}

std::map<std::pair<RequestId, int>, Answer> run(Engine& engine) {
  std::map<std::pair<RequestId, int>, Answer> answers;
  for (int steps = 0; !engine.idle() && steps < 20000; ++steps) {
    take(engine.step(), answers);
    engine.check_invariants();
  }
  for (int g = 0; g < engine.cache().groups(); ++g) EXPECT_EQ(engine.cache().pool(g).in_use(), 0);
  return answers;
}

bool same_bits(const Told& a, const Told& b) {
  const auto same = [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.token == y.token && x.model == y.model && x.kept == y.kept;
  };
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!std::equal(a[i].begin(), a[i].end(), b[i].begin(), b[i].end(), same)) return false;
  return true;
}

// By definition: a plain log-softmax in f64, and all tokens sorted.
Told defined(TestModel& model, const Tokens& prompt, int likeliest, DType kv) {
  Told told(1);
  score(model.ops, model.transformer, prompt, {.kv = kv}, [&](int row, std::span<const float> logits_W) {
    if (row + 1 == std::ssize(prompt)) return;
    double sum = 0;
    for (const float x : logits_W) sum += std::exp(static_cast<double>(x));
    std::vector<int32_t> ids(logits_W.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto logit = [&](int32_t id) { return logits_W[static_cast<size_t>(id)]; };
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
    ids.resize(static_cast<size_t>(likeliest));
    ids.insert(ids.begin(), prompt[static_cast<size_t>(row) + 1]);
    auto& entry = told.emplace_back();
    for (const int32_t id : ids) {
      const auto logprob = static_cast<float>(static_cast<double>(logit(id)) - std::log(sum));
      entry.push_back({id, logprob, logprob});
    }
  });
  return told;
}

void expect_defined(const Told& got, const Told& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < want.size(); ++t) {
    ASSERT_EQ(got[t].size(), want[t].size()) << "token " << t;
    for (size_t i = 0; i < want[t].size(); ++i) {
      ASSERT_EQ(got[t][i].token, want[t][i].token) << "token " << t;
      ASSERT_NEAR(got[t][i].model, want[t][i].model, 2e-6) << "token " << t;
      ASSERT_EQ(got[t][i].kept, got[t][i].model);
    }
  }
}

struct Mode {
  const char* path;
  DType weights, kv;
};

class PromptLogprobs : public ::testing::TestWithParam<Mode> {
 protected:
  TestModel model{golden_root() / GetParam().path, best_kernels(), GetParam().weights};
  const int vocab = model.transformer.spec().vocab;

  EngineOptions options() const { return {.context = 640, .cache_tokens = 8 * 640, .kv = GetParam().kv}; }
  Request request(int prompt, uint64_t seed = 5) const {
    return {.prompt = some_tokens(prompt, vocab, seed),
            .sampling = {.temperature = 1, .seed = seed},
            .max_tokens = 20,
            .end_tokens = {},
            .logprobs = 1,
            .prompt_logprobs = 3};
  }
  Answer alone(const Request& r) {
    Engine engine(model.ops, model.transformer, options());
    const auto id = engine.submit(r);
    return run(engine).at({id, 0});
  }
};

TEST_P(PromptLogprobs, AreThoseOfTheLogitsHoweverThePromptIsCut) {
  for (const int prompt : {1, 2, 64, 65, 200, 300}) {
    SCOPED_TRACE(prompt);
    const Request r = request(prompt);
    const Told want = defined(model, r.prompt, 3, GetParam().kv);
    Request silent = r;
    silent.prompt_logprobs = -1;
    const Tokens answer = alone(silent).tokens;
    for (const int max_rows : {512, 64, 7}) {
      EngineOptions cut = options();
      cut.scheduler.max_rows = max_rows;
      Engine engine(model.ops, model.transformer, cut);
      const auto id = engine.submit(r);
      const Answer got = run(engine).at({id, 0});
      expect_defined(got.told, want);
      EXPECT_EQ(got.tokens, answer) << "telling changes nothing";
      EXPECT_EQ(got.finished, FinishReason::length);
    }
  }
}

TEST_P(PromptLogprobs, AreToldOfAllTokensWhateverIsCachedAndLeaveTheirBlocksToOthers) {
  const Request r = request(200);
  const Answer want = alone(r);
  Engine engine(model.ops, model.transformer, options());
  for (int i = 0; i < 2; ++i) {
    const auto id = engine.submit(r);
    const Answer got = run(engine).at({id, 0});
    EXPECT_EQ(got.cached_tokens, 0);
    EXPECT_TRUE(same_bits(got.told, want.told));
  }
  Request silent = r;
  silent.prompt_logprobs = -1;
  const auto id = engine.submit(silent);
  const Answer found = run(engine).at({id, 0});
  EXPECT_EQ(found.cached_tokens, 199);
  EXPECT_TRUE(found.told.empty());
  EXPECT_EQ(found.tokens, want.tokens);
}

TEST_P(PromptLogprobs, AreTheSameBitForBitAmongOthers) {
  const Request r = request(200);
  const Answer want = alone(r);
  EngineOptions many = options();
  many.scheduler.max_rows = 90;
  Engine engine(model.ops, model.transformer, many);
  for (int i = 0; i < 4; ++i) {
    Request other = request(30 + 50 * i, 20 + static_cast<uint64_t>(i));
    if (i % 2) other.prompt_logprobs = -1;
    engine.submit(other);
  }
  std::map<std::pair<RequestId, int>, Answer> answers;
  for (int i = 0; i < 3; ++i) take(engine.step(), answers);
  const auto id = engine.submit(r), again = engine.submit(r);
  while (!engine.idle()) take(engine.step(), answers);
  for (const auto which : {id, again}) {
    EXPECT_TRUE(same_bits(answers.at({which, 0}).told, want.told));
    EXPECT_TRUE(same_bits({answers.at({which, 0}).logprobs}, {want.logprobs}));
    EXPECT_EQ(answers.at({which, 0}).tokens, want.tokens);
  }
}

// The first sequence grows until it takes the blocks of the second, whose prompt is computed a row at a time.
TEST_P(PromptLogprobs, AreEachToldOnceWhenTheSequenceHasToGiveWayInTheMiddleOfItsPrompt) {
  const Request r = request(300);
  const Answer want = alone(r);
  EngineOptions tight = options();
  tight.cache_tokens = 640;
  tight.scheduler.max_rows = 2;
  Engine engine(model.ops, model.transformer, tight);
  Request first = request(100, 6);
  first.prompt_logprobs = -1;
  first.max_tokens = 520;
  engine.submit(first);
  std::map<std::pair<RequestId, int>, Answer> answers;
  for (int i = 0; i < 50; ++i) take(engine.step(), answers);
  const auto id = engine.submit(r);
  while (!engine.idle() && engine.statistics().preempted == 0) take(engine.step(), answers);
  const auto so_far = std::ssize(answers.at({id, 0}).told);
  while (!engine.idle()) take(engine.step(), answers);
  EXPECT_TRUE(same_bits(answers.at({id, 0}).told, want.told));
  EXPECT_EQ(answers.at({id, 0}).tokens, want.tokens);
  bool all_windowed = true;
  for (int g = 0; g < engine.cache().groups(); ++g) all_windowed = all_windowed && engine.cache().window(g) > 0;
  if (all_windowed) return;  // then there is room for everyone
  EXPECT_GT(engine.statistics().preempted, 0);
  EXPECT_GT(so_far, 64);
  EXPECT_LT(so_far, 300);
}

TEST_P(PromptLogprobs, AreToldByTheFirstOfSeveralAnswers) {
  Request r = request(150);
  const Answer want = alone(r);
  r.answers = 3;
  for (const int cancelled : {-1, 0, 2}) {
    Engine engine(model.ops, model.transformer, options());
    const auto id = engine.submit(r);
    if (cancelled >= 0) engine.cancel(id, cancelled);
    const auto answers = run(engine);
    ASSERT_EQ(answers.size(), 3u);
    for (const auto& [key, a] : answers) {
      if (key.second == 0 && cancelled != 0)
        EXPECT_TRUE(same_bits(a.told, want.told));
      else
        EXPECT_TRUE(a.told.empty());
      EXPECT_EQ(a.finished, key.second == cancelled ? FinishReason::cancelled : FinishReason::length);
    }
  }
}

TEST_P(PromptLogprobs, ComeAlsoWhenNoAnswerIsWanted) {
  for (const int prompt : {1, 150, 640})
    for (const int wanted : {1, 3}) {
      SCOPED_TRACE(prompt);
      Request r = request(prompt);
      r.max_tokens = 0;
      r.answers = wanted;
      Engine engine(model.ops, model.transformer, options());
      const auto id = engine.submit(r);
      const auto answers = run(engine);
      ASSERT_EQ(std::ssize(answers), wanted);
      for (const auto& [key, a] : answers) {
        EXPECT_TRUE(a.tokens.empty());
        EXPECT_EQ(a.finished, FinishReason::length);
      }
      expect_defined(answers.at({id, 0}).told, defined(model, r.prompt, 3, GetParam().kv));
      EXPECT_EQ(engine.statistics().rows, prompt);
    }
}

INSTANTIATE_TEST_SUITE_P(Models, PromptLogprobs,
                         ::testing::Values(Mode{"qwen3/plain", DType::f32, DType::f32},
                                           Mode{"qwen2/window", DType::bf16, DType::bf16},
                                           Mode{"qwen2/window", DType::bf16, DType::q8_0},
                                           Mode{"llama/dynamic", DType::f32, DType::f32},
                                           Mode{"deepseek_v2/plain", DType::f32, DType::f32},
                                           Mode{"deepseek_v3/mtp", DType::bf16, DType::bf16}),
                         [](const auto& info) {
                           std::string label = case_name(info.param.path) + "_" +
                                               std::string(name(info.param.weights)) + "_" +
                                               std::string(name(info.param.kv));
                           std::replace(label.begin(), label.end(), '/', '_');
                           return label;
                         });

// Which remembers the most rows that were given logits at once.
class HeadSpy final : public ForwardingOps {
 public:
  using ForwardingOps::ForwardingOps;
  Tensor logits(const Tensor& hidden, const Linear& head) override {
    most_rows = std::max(most_rows, hidden.dim(0));
    rows += hidden.dim(0);
    return inner().logits(hidden, head);
  }
  int64_t most_rows = 0, rows = 0;
};

TEST(PromptLogprobsOfALargeVocabulary, HaveLogitsOfFewRowsAtOnce) {
  TestModel model(test_model("gqa"), best_kernels(), DType::bf16);
  HeadSpy ops(model.ops);
  Engine engine(ops, model.transformer, {.context = 512, .cache_tokens = 512});
  const int vocab = model.transformer.spec().vocab;
  EXPECT_LE(int64_t{4} * told_at_once(vocab) * vocab, 32 << 20);
  const auto id = engine.submit({.prompt = some_tokens(200, 1000, 3), .max_tokens = 0, .prompt_logprobs = 2});
  const Answer got = run(engine).at({id, 0});
  EXPECT_EQ(got.told.size(), 200u);
  EXPECT_EQ(ops.most_rows, told_at_once(vocab));
  EXPECT_EQ(ops.rows, 199 + 1);
}

TEST(PromptLogprobsRefused, WhereTheyCannotBeTold) {
  TestModel model(golden_root() / "qwen2/window", best_kernels(), DType::bf16);
  Engine engine(model.ops, model.transformer, {.context = 300, .cache_tokens = 300});
  EXPECT_THROW(engine.submit({.prompt = {1, 2}, .prompt_logprobs = -2}), Error);
  EXPECT_THROW(engine.submit({.prompt = {1, 2}, .prompt_logprobs = kMostPromptLogprobs + 1}), Error);
  Engine without(model.ops, model.transformer, {.context = 300, .cache_tokens = 300, .prompt_logprobs = false});
  EXPECT_THROW(without.submit({.prompt = {1, 2}, .prompt_logprobs = 0}), Error);
}

}  // namespace
}  // namespace cachalot::testing
