// Embeddings are the reference's hidden states, put together as stated, bit for bit the same however the prompt is
// cut, whatever the cache holds, whoever runs besides, and also after the prompt had to give way in the middle.
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "base/error.h"
#include "engine/engine.h"
#include "ops/forwarding.h"
#include "ops/plain_ops.h"
#include "support/goldens.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using Tokens = std::vector<int32_t>;
using Vector = std::vector<float>;

constexpr Pooling kPoolings[] = {Pooling::last, Pooling::mean, Pooling::first};

Tokens some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  Tokens tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}

// Of rows [T, D], by definition.
Vector defined(std::span<const float> rows_TD, size_t width, Pooling pooling) {
  const size_t rows = rows_TD.size() / width;
  Vector vector_D(width);
  for (size_t d = 0; d < width; ++d) {
    double sum = 0;
    for (size_t t = 0; t < rows; ++t) sum += rows_TD[t * width + d];
    vector_D[d] = pooling == Pooling::mean   ? static_cast<float>(sum / static_cast<double>(rows))
                  : pooling == Pooling::last ? rows_TD[(rows - 1) * width + d]
                                             : rows_TD[d];
  }
  return vector_D;
}

struct Outcome {
  Vector embedding;
  Tokens tokens;
  std::optional<FinishReason> finished;
  std::string error;
  int cached_tokens = 0, embeddings = 0;
};
using Outcomes = std::map<RequestId, Outcome>;

void take(std::vector<Event> events, Outcomes& outcomes) {
  for (Event& event : events) {
    Outcome& o = outcomes[event.request];
    EXPECT_FALSE(o.finished) << "an event after the end";
    if (event.token) o.tokens.push_back(*event.token);
    o.embedding = std::move(event.embedding);
    o.finished = event.finished;
    o.error = event.error;
    o.cached_tokens = event.cached_tokens;
    o.embeddings += !o.embedding.empty();
  }
}

void run(Engine& engine, Outcomes& outcomes) {
  for (int steps = 0; !engine.idle() && steps < 20000; ++steps) {
    take(engine.step(), outcomes);
    engine.check_invariants();
  }
  for (int g = 0; g < engine.cache().groups(); ++g) EXPECT_EQ(engine.cache().pool(g).in_use(), 0);
}

Outcome alone(Ops& ops, const Transformer& model, const EngineOptions& options, const Request& request) {
  Engine engine(ops, model, options);
  const auto id = engine.submit(request);
  Outcomes outcomes;
  run(engine, outcomes);
  const Outcome& o = outcomes.at(id);
  EXPECT_EQ(o.error, "");
  EXPECT_EQ(o.embeddings, 1);
  EXPECT_EQ(o.finished, FinishReason::stop);
  EXPECT_TRUE(o.tokens.empty());
  return o;
}

// -- The reference

std::vector<fs::path> traced_cases() {
  std::vector<fs::path> cases;
  for (const fs::path& folder : golden_cases())
    if (fs::exists(folder / "trace.safetensors") &&
        SafetensorsFile::parse(MappedFile(folder / "trace.safetensors")).find("final_norm"))
      cases.push_back(folder);
  return cases;
}

class EmbeddingGoldens : public ::testing::TestWithParam<fs::path> {
 protected:
  void expect_reference(Ops& ops, const Transformer& model) {
    const auto trace = SafetensorsFile::parse(MappedFile(GetParam() / "trace.safetensors"));
    const auto tokens = values<int32_t>(trace, "tokens");
    const auto rows_TD = values<float>(trace, "final_norm");
    for (const Pooling pooling : kPoolings) {
      const Vector got = alone(ops, model, {.context = 64, .cache_tokens = 64, .kv = DType::f32},
                               {.prompt = tokens, .embedding = pooling})
                             .embedding;
      const Vector want = defined(rows_TD, rows_TD.size() / tokens.size(), pooling);
      ASSERT_EQ(got.size(), want.size());
      for (size_t d = 0; d < want.size(); ++d) ASSERT_NEAR(got[d], want[d], 1e-5) << name(pooling);
    }
  }
};

TEST_P(EmbeddingGoldens, AreTheReferencesHiddenStatesOnEveryIsa) {
  for (const KernelTable* kernels : usable_kernels()) {
    SCOPED_TRACE(kernels->isa);
    TestModel model(GetParam(), *kernels);
    expect_reference(model.ops, model.transformer);
  }
}

TEST_P(EmbeddingGoldens, AreThoseOfThePlainOpsToo) {
  PlainOps plain;
  expect_reference(plain, TestModel::load(GetParam(), plain, DType::f32, true));
}

INSTANTIATE_TEST_SUITE_P(Traced, EmbeddingGoldens, ::testing::ValuesIn(traced_cases()),
                         [](const auto& info) { return case_name(info.param); });

TEST(EmbeddingGoldens, AreOfEveryFamily) { EXPECT_GE(traced_cases().size(), 8u); }

// -- Invariance

struct Mode {
  const char* path;
  DType weights, kv;
};

// Its rows behind the final norm, of one prompt.
class HiddenSpy final : public ForwardingOps {
 public:
  using ForwardingOps::ForwardingOps;
  void mark(std::string_view point, const Tensor& tensor) override {
    if (point != "final_norm") return;
    std::vector<float> room;
    const auto numbers = read(tensor, room);
    rows_TD.insert(rows_TD.end(), numbers.begin(), numbers.end());
  }
  Tensor logits(const Tensor& hidden, const Linear& head) override {
    heads += hidden.dim(0);
    return inner().logits(hidden, head);
  }
  Vector rows_TD;
  int64_t heads = 0;
};

class Embedding : public ::testing::TestWithParam<Mode> {
 protected:
  TestModel model{golden_root() / GetParam().path, best_kernels(), GetParam().weights};
  TestModel two_threads{golden_root() / GetParam().path, best_kernels(), GetParam().weights, 2};
  const int vocab = model.transformer.spec().vocab;
  const bool module = !model.transformer.spec().mtp.empty();

  EngineOptions options() const { return {.context = 640, .cache_tokens = 8 * 640, .kv = GetParam().kv}; }
  Request request(int prompt, Pooling pooling, uint64_t seed = 5) const {
    return {.prompt = some_tokens(prompt, vocab, seed), .embedding = pooling};
  }
  Request answer(int prompt, int tokens, uint64_t seed) const {
    return {.prompt = some_tokens(prompt, vocab, seed),
            .sampling = {.temperature = 1, .seed = seed},
            .max_tokens = tokens,
            .end_tokens = {}};
  }
  Vector of(const Request& r) { return alone(model.ops, model.transformer, options(), r).embedding; }
};

TEST_P(Embedding, IsTheStatedSumOfItsRowsHoweverThePromptIsCut) {
  for (const int prompt : {1, 2, 64, 65, 200, 300, 640}) {
    SCOPED_TRACE(prompt);
    for (const Pooling pooling : kPoolings) {
      const Request r = request(prompt, pooling);
      HiddenSpy spy(model.ops);
      const Vector seen = alone(spy, model.transformer, options(), r).embedding;
      EXPECT_EQ(spy.heads, 0) << "nobody reads logits";
      EXPECT_EQ(seen, defined(spy.rows_TD, static_cast<size_t>(model.transformer.spec().width), pooling));
      const Vector got = of(r);  // by fused verbs, whose bits may be others
      for (const int max_rows : {512, 64, 7}) {
        EngineOptions cut = options();
        cut.scheduler.max_rows = max_rows;
        EXPECT_EQ(alone(model.ops, model.transformer, cut, r).embedding, got) << max_rows << " rows a step";
        if (max_rows != 64) continue;
        EXPECT_EQ(alone(two_threads.ops, two_threads.transformer, cut, r).embedding, got) << "on two threads";
      }
    }
  }
}

TEST_P(Embedding, TakesFromTheCacheWhatItDoesNotNeedAndLeavesItsBlocksToOthers) {
  for (const Pooling pooling : kPoolings) {
    SCOPED_TRACE(name(pooling));
    const Request r = request(200, pooling);
    const Vector want = of(r);
    Engine engine(model.ops, model.transformer, options());
    for (int i = 0; i < 2; ++i) {
      Outcomes outcomes;
      const auto id = engine.submit(r);
      run(engine, outcomes);
      EXPECT_EQ(outcomes.at(id).embedding, want);
      EXPECT_EQ(outcomes.at(id).cached_tokens, pooling == Pooling::last && i > 0 ? 199 : 0);
    }
    Request asks = answer(200, 20, 5);
    asks.prompt = r.prompt;
    Engine fresh(model.ops, model.transformer, options());
    Outcomes outcomes;
    const auto id = engine.submit(asks), same = fresh.submit(asks);
    run(engine, outcomes);
    EXPECT_EQ(outcomes.at(id).cached_tokens, 199);
    Outcomes others;
    run(fresh, others);
    EXPECT_EQ(outcomes.at(id).tokens, others.at(same).tokens);
  }
}

TEST_P(Embedding, IsTheSameBitForBitAmongOthers) {
  for (const auto speculation : {Speculation::off, Speculation::lookup, Speculation::mtp}) {
    if (speculation == Speculation::mtp && !module) continue;
    EngineOptions many = options();
    many.scheduler.max_rows = 90;
    many.speculation = speculation;
    Engine engine(model.ops, model.transformer, many);
    std::map<RequestId, Request> requests, answers;
    Outcomes outcomes;
    const auto submit = [&](const Request& r) { (r.embedding ? requests : answers).emplace(engine.submit(r), r); };
    for (uint64_t i = 0; i < 12; ++i) {
      if (i % 3 == 2)
        submit(answer(20 + 20 * static_cast<int>(i), 15, i));
      else
        submit(request(1 + 33 * static_cast<int>(i), kPoolings[i % 3], 20 + i));
      if (i % 4 == 3) take(engine.step(), outcomes);
    }
    run(engine, outcomes);
    for (const auto& [id, r] : requests) EXPECT_EQ(outcomes.at(id).embedding, of(r)) << r.prompt.size();
    for (const auto& [id, r] : answers) {
      Engine other(model.ops, model.transformer, options());
      const auto same = other.submit(r);
      Outcomes without;
      run(other, without);
      EXPECT_EQ(outcomes.at(id).tokens, without.at(same).tokens);
    }
  }
}

// The first sequence grows until it takes the blocks of the second, whose prompt is computed a row at a time.
TEST_P(Embedding, IsTheSameWhenItHasToGiveWayInTheMiddleOfItsPrompt) {
  for (const Pooling pooling : kPoolings) {
    const Request r = request(300, pooling);
    const Vector want = of(r);
    EngineOptions tight = options();
    tight.cache_tokens = 640;
    tight.scheduler.max_rows = 2;
    Engine engine(model.ops, model.transformer, tight);
    engine.submit(answer(100, 520, 6));
    Outcomes outcomes;
    for (int i = 0; i < 50; ++i) take(engine.step(), outcomes);
    const auto id = engine.submit(r);
    while (!engine.idle() && engine.statistics().preempted == 0) take(engine.step(), outcomes);
    bool all_windowed = true;
    for (int g = 0; g < engine.cache().groups(); ++g) all_windowed = all_windowed && engine.cache().window(g) > 0;
    if (!all_windowed) {
      EXPECT_GT(engine.statistics().preempted, 0);
      EXPECT_FALSE(outcomes[id].finished);
    }
    run(engine, outcomes);
    EXPECT_EQ(outcomes.at(id).embedding, want) << name(pooling);
  }
}

TEST_P(Embedding, CanBeCancelledAnywhere) {
  for (int steps = 0; steps < 5; ++steps) {
    EngineOptions cut = options();
    cut.scheduler.max_rows = 60;
    Engine engine(model.ops, model.transformer, cut);
    const auto id = engine.submit(request(250, Pooling::mean)), other = engine.submit(request(40, Pooling::last, 9));
    Outcomes outcomes;
    for (int i = 0; i < steps; ++i) take(engine.step(), outcomes);
    engine.cancel(id);
    run(engine, outcomes);
    EXPECT_EQ(outcomes.at(id).finished, FinishReason::cancelled);
    EXPECT_TRUE(outcomes.at(id).embedding.empty());
    EXPECT_EQ(outcomes.at(other).embedding, of(request(40, Pooling::last, 9)));
  }
}

TEST_P(Embedding, IsMadeWhereTheHostReadsNothing) {
  GuardedOps guarded(best_kernels(), 1);
  const Transformer behind = TestModel::load(golden_root() / GetParam().path, guarded, GetParam().weights, true);
  for (const Pooling pooling : kPoolings)
    EXPECT_EQ(alone(guarded, behind, options(), request(130, pooling)).embedding, of(request(130, pooling)));
}

INSTANTIATE_TEST_SUITE_P(Models, Embedding,
                         ::testing::Values(Mode{"qwen3/plain", DType::f32, DType::f32},
                                           Mode{"qwen2/window", DType::bf16, DType::q8_0},
                                           Mode{"llama/dynamic", DType::f32, DType::f32},
                                           Mode{"qwen3_moe/plain", DType::bf16, DType::bf16},
                                           Mode{"deepseek_v2/plain", DType::f32, DType::f32},
                                           Mode{"deepseek_v3/mtp", DType::bf16, DType::bf16}),
                         [](const auto& info) { return case_name(info.param.path); });

// -- What goes wrong

// Its rows of hidden states are no numbers, from a call on.
class BrokenOps final : public ForwardingOps {
 public:
  using ForwardingOps::ForwardingOps;
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override {
    const auto numbers = inner().read(tensor, room);
    broken.assign(numbers.begin(), numbers.end());
    broken[broken.size() / 2] = NAN;
    return broken;
  }
  Vector broken;
};

TEST(EmbeddingThatFails, IsAnErrorOfItsOwn) {
  TestModel model(golden_root() / "qwen3/plain", best_kernels());
  BrokenOps ops(model.ops);
  Engine engine(ops, model.transformer, {.context = 100, .cache_tokens = 200});
  const auto id = engine.submit({.prompt = {1, 2, 3}, .embedding = Pooling::mean});
  Outcomes outcomes;
  run(engine, outcomes);
  EXPECT_EQ(outcomes.at(id).finished, FinishReason::error);
  EXPECT_NE(outcomes.at(id).error.find("not a number"), std::string::npos);
  EXPECT_TRUE(outcomes.at(id).embedding.empty());
}

TEST(EmbeddingThatFails, IsRefusedWhereItCannotBeMade) {
  TestModel model(golden_root() / "qwen3/plain", best_kernels());
  Engine engine(model.ops, model.transformer, {.context = 100, .cache_tokens = 200});
  const Tokens full(100, 1), more(101, 1);
  EXPECT_NO_THROW(engine.check({.prompt = full, .embedding = Pooling::last})) << "no answer needs room";
  EXPECT_THROW(engine.check({.prompt = more, .embedding = Pooling::last}), Error);
  EXPECT_THROW(engine.check({.prompt = {}, .embedding = Pooling::last}), Error);
  EXPECT_THROW(engine.check({.prompt = full, .answers = 2, .embedding = Pooling::last}), Error);
  EXPECT_THROW(engine.check({.prompt = full, .logprobs = 0, .embedding = Pooling::last}), Error);
  EXPECT_THROW(engine.check({.prompt = full, .prompt_logprobs = 0, .embedding = Pooling::last}), Error);
}

}  // namespace
}  // namespace cachalot::testing
