// Recurrent layers in the real Engine and its memory plan: each sequence that runs has a slot, and none is heard of
// in an answer.
#include <gtest/gtest.h>

#include <map>

#include "load/loaded_model.h"
#include "ops/forwarding.h"
#include "recurrent/models.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot::testing {

struct Answers {
  std::vector<Tokens> tokens;
  int drafted = 0, accepted = 0;
};

// All at once; with `apart`, one after another.
static Answers answers(Ops& ops, const Transformer& model, const EngineOptions& options,
                       const std::vector<Request>& requests, bool apart = false) {
  Engine engine(ops, model, options);
  Answers answers{.tokens = std::vector<Tokens>(requests.size())};
  std::map<RequestId, size_t> index;
  const auto run = [&] {
    while (!engine.idle())
      for (const Event& event : engine.step()) {
        EXPECT_EQ(event.error, "");
        if (event.token) answers.tokens[index.at(event.request)].push_back(*event.token);
        answers.drafted += event.drafted;
        answers.accepted += event.accepted;
      }
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    index[engine.submit(requests[i])] = i;
    if (apart) run();
  }
  run();
  return answers;
}

static std::vector<Request> some_requests(int answer_tokens) {
  std::vector<Request> requests;
  for (const int length : {61, 190, 1, 130, 64, 65, 128, 3})
    requests.push_back({.prompt = some_tokens(length, 61, 20 + requests.size()),
                        .sampling = {.temperature = requests.size() % 2 == 0 ? 0.0 : 1.0, .seed = requests.size()},
                        .max_tokens = answer_tokens});
  return requests;
}

static EngineOptions roomy(int max_rows) {
  return {.context = 400, .cache_tokens = 4000, .scheduler = {.max_rows = max_rows, .max_sequences = 8}};
}

TEST(RecurrentEngine, EightAtOnceAnswerAsEachAlone) {
  const auto requests = some_requests(90);
  for (const bool mixed : {false, true}) {
    const Model model = cpu_model(model_spec(mixed), best_kernels());
    const Answers alone = answers(*model.ops, model.transformer, roomy(512), requests, true);
    EXPECT_EQ(alone.tokens, answers(*model.ops, model.transformer, roomy(512), requests).tokens);
    EXPECT_EQ(alone.tokens, answers(*model.ops, model.transformer, roomy(37), requests).tokens) << "in small steps";
    EngineOptions few = roomy(512);
    few.scheduler.max_sequences = 3;
    EXPECT_EQ(alone.tokens, answers(*model.ops, model.transformer, few, requests).tokens) << "in used slots";
  }
}

// Also where a sequence comes back that had given its slot away, and where snapshots are found.
TEST(RecurrentEngine, EmbeddingsAreTheSameAloneAmongAnswersAndTwice) {
  for (const bool mixed : {false, true}) {
    const Model model = cpu_model(model_spec(mixed), best_kernels());
    const auto embeddings = [&](const EngineOptions& options, bool apart, bool twice) {
      Engine engine(*model.ops, model.transformer, options);
      std::vector<std::vector<float>> all;
      std::map<RequestId, size_t> index;
      const auto run = [&] {
        while (!engine.idle())
          for (Event& event : engine.step()) {
            EXPECT_EQ(event.error, "");
            if (index.contains(event.request) && event.finished)
              all[index[event.request]] = std::move(event.embedding);
          }
      };
      for (int round = 0; round < (twice ? 2 : 1); ++round)
        for (Request& request : some_requests(70)) {
          const bool embeds = request.prompt.size() % 2 == 0 || request.prompt.size() > 60;
          if (!embeds && apart) continue;
          if (embeds) request.embedding = request.prompt.size() % 3 == 0 ? Pooling::last : Pooling::mean;
          const RequestId id = engine.submit(request);
          if (embeds) index[id] = all.size();
          if (embeds) all.emplace_back();
          if (apart) run();
        }
      run();
      if (twice) {
        const auto half = static_cast<ptrdiff_t>(all.size() / 2);
        EXPECT_TRUE(std::equal(all.begin(), all.begin() + half, all.begin() + half, all.end()));
        all.resize(static_cast<size_t>(half));
      }
      return all;
    };
    const auto alone = embeddings(roomy(512), true, false);
    ASSERT_GE(alone.size(), 5u);
    EXPECT_EQ(alone, embeddings(roomy(512), false, false));
    EXPECT_EQ(alone, embeddings(roomy(37), false, false));
    EXPECT_EQ(alone, embeddings(roomy(37), true, true));
    EngineOptions tight = roomy(20);
    tight.cache_tokens = 500;
    tight.scheduler.max_sequences = 3;
    EXPECT_EQ(alone, embeddings(tight, false, true));
  }
}

TEST(RecurrentEngine, RunsWhereTheHostMayNotReadTheStates) {
  auto requests = some_requests(6);
  requests.resize(2);
  const Model model = cpu_model(model_spec(false), best_kernels()),
              guarded(std::make_unique<GuardedOps>(best_kernels(), 1), model_spec(false));
  EXPECT_EQ(answers(*model.ops, model.transformer, roomy(100), requests).tokens,
            answers(*guarded.ops, guarded.transformer, roomy(100), requests).tokens);
}

// Counts rows.
class CountingOps final : public ForwardingOps {
 public:
  using ForwardingOps::ForwardingOps;
  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    rows += std::ssize(ids);
    return ForwardingOps::embed(ids, table);
  }
  int64_t rows = 0;
};

TEST(RecurrentEngine, WhoGivesItsBlocksBackIsComputedAgainWithAFreshState) {
  const Model model = cpu_model(model_spec(true), best_kernels());
  CountingOps counting(*model.ops);
  std::vector<Request> requests = some_requests(150);
  for (Request& request : requests) request.prompt.resize(std::min<size_t>(request.prompt.size(), 70));
  const auto alone = answers(counting, model.transformer, roomy(512), requests, true).tokens;
  const int64_t without = std::exchange(counting.rows, 0);
  EngineOptions tight = roomy(512);
  tight.cache_tokens = 500;
  EXPECT_EQ(alone, answers(counting, model.transformer, tight, requests).tokens);
  EXPECT_GT(counting.rows, without) << "nobody was computed again: the test tests nothing";
}

TEST(RecurrentEngine, SpeculationChangesNoAnswer) {
  for (const bool mixed : {false, true}) {
    const ModelSpec spec = model_spec(mixed, true);
    const Model model = cpu_model(spec, best_kernels());
    std::vector<Request> requests = some_requests(140);
    for (Request& request : requests) {  // texts that repeat themselves, so that there is something to guess
      const Tokens once = request.prompt;
      for (int i = 0; i < 3 && request.prompt.size() < 200; ++i)
        request.prompt.insert(request.prompt.end(), once.begin(), once.end());
    }
    const auto plain = answers(*model.ops, model.transformer, roomy(512), requests).tokens;
    for (const int drafts : {4, kBlockTokens - 1}) {
      EngineOptions options = roomy(512);
      options.speculation = Speculation::lookup;
      options.lookup_drafts = drafts;
      const Answers guessed = answers(*model.ops, model.transformer, options, requests);
      EXPECT_EQ(plain, guessed.tokens);
      EXPECT_GT(guessed.accepted, 0);
      EXPECT_GT(guessed.drafted, guessed.accepted + kBlockTokens);
    }
    EngineOptions options = roomy(512);
    options.speculation = Speculation::mtp;
    const Answers guessed = answers(*model.ops, model.transformer, options, requests);
    EXPECT_EQ(plain, guessed.tokens);
    EXPECT_GT(guessed.drafted, guessed.accepted);
  }
}

// -- What it takes

TEST(RecurrentPlan, CountsTheBytesOfTheStatesThatTheEngineMakes) {
  for (const bool mixed : {false, true})
    for (const int sequences : {1, 8})
      for (const int snapshots : {0, 5}) {
        const ModelSpec spec = model_spec(mixed);
        int64_t asked = 0;
        CpuOps ops(best_kernels(), 1, [&](size_t bytes) {
          asked += static_cast<int64_t>(bytes);
          return host_memory(bytes);
        });
        const Transformer model(spec, random_weights(ops, spec));
        const SchedulerOptions scheduler{.max_rows = 128, .max_sequences = sequences, .state_snapshots = snapshots};
        const MemoryPlan plan = memory_at(spec, 0, ops, {.scheduler = scheduler}, DType::bf16, 400);
        const int64_t before = asked;
        const Engine engine(ops, model,
                            {.context = 400, .cache_tokens = plan.cache_tokens, .scheduler = plan.scheduler});
        EXPECT_EQ(asked - before, plan.cache_bytes);
        const int64_t slot = 4 * 2 * (10 + 64 * 20 + 7 + 64 * 14);
        EXPECT_EQ(ops.state_slot_bytes(cache_layout(spec).states), slot);
        if (!mixed) { EXPECT_EQ(plan.cache_bytes, slot * (sequences + snapshots)); }
      }
}

TEST(RecurrentPlan, TheLayersAreDescribed) {
  const auto described = describe_attention(model_spec(true).layers);
  ASSERT_EQ(described.size(), 2u);
  EXPECT_EQ(described[1].text,
            "recurrence of 10 channels in 2 of 4 layers: a state of 10 numbers, 20 of each token of a chunk");
  EXPECT_EQ(described[1].section, "recurrence");
}

}  // namespace cachalot::testing
