// Speculation changes how many forward passes an answer takes, and nothing else.
#include "engine/speculative.h"

#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"
#include "ops/forwarding.h"
#include "support/goldens.h"

namespace cachalot::testing {

TEST(DraftByLookup, ContinuesTheLatestOccurrenceOfTheLongestKnownEnd) {
  const auto draft = [](std::vector<int32_t> tokens, int most) { return draft_by_lookup(tokens, most); };
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(draft({1, 2, 3, 4, 1, 2}, 8), (Tokens{3, 4, 1, 2}));
  EXPECT_EQ(draft({1, 2, 3, 4, 1, 2}, 2), (Tokens{3, 4}));
  EXPECT_EQ(draft({1, 2, 3, 1, 2, 4, 1, 2}, 1), (Tokens{4})) << "the latest";
  EXPECT_EQ(draft({9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2}, 1), (Tokens{3})) << "three tokens agree there";
  EXPECT_EQ(draft({5, 5, 5, 5}, 8), (Tokens{5})) << "an occurrence may overlap the end";
  EXPECT_EQ(draft({1, 2, 3}, 8), Tokens{});
  EXPECT_EQ(draft({1, 1}, 8), Tokens{});
  EXPECT_EQ(draft({1}, 8), Tokens{});
  EXPECT_EQ(draft({}, 8), Tokens{});
}

struct Outcome {
  std::vector<int32_t> tokens;
  std::optional<FinishReason> finished;
  int drafted = 0, accepted = 0;
};

static std::map<RequestId, Outcome> run_to_end(Engine& engine) {
  std::map<RequestId, Outcome> outcomes;
  for (int steps = 0; !engine.idle() && steps < 10000; ++steps)
    for (const Event& event : engine.step()) {
      Outcome& o = outcomes[event.request];
      EXPECT_FALSE(o.finished) << "an event after the end";
      if (event.token) o.tokens.push_back(*event.token);
      o.drafted += event.drafted;
      o.accepted += event.accepted;
      o.finished = event.finished;
    }
  return outcomes;
}

// Prompts of several lengths, some of them repetitive, so that lookups find something.
static std::vector<int32_t> prompt(int i) {
  std::vector<int32_t> ids;
  for (int t = 0; t < 5 + 37 * i; ++t) ids.push_back((3 + 7 * (t % (11 + i))) % 89);
  return ids;
}

struct Model {
  const char* path;
  std::vector<Speculation> forms;
};

class Speculating : public ::testing::TestWithParam<Model> {};

// Some requests greedy, some sampled with penalties; a small cache, so that some are computed again.
static std::map<RequestId, Outcome> answers(TestModel& model, Speculation form, int cache_tokens, int max_rows) {
  Engine engine(
      model.ops, model.transformer,
      {.context = 300, .cache_tokens = cache_tokens, .scheduler = {.max_rows = max_rows}, .speculation = form});
  for (int i = 0; i < 6; ++i)
    engine.submit({.prompt = prompt(i),
                   .sampling = {.temperature = i % 2 ? 0.3 : 0.0, .repeat_penalty = i == 3 ? 1.1 : 1.0, .seed = 5},
                   .max_tokens = 40 + i,
                   .end_tokens = {i == 4 ? 17 : -1}});
  return run_to_end(engine);
}

TEST_P(Speculating, AnswersAreTheSameTokenForTokenWithAndWithout) {
  for (const DType weights : {DType::f32, DType::bf16}) {
    TestModel model(golden_root() / GetParam().path, best_kernels(), weights);
    const auto plain = answers(model, Speculation::off, 2000, 512);
    for (const Speculation form : GetParam().forms)
      for (const auto& [cache_tokens, max_rows] : {std::pair{2000, 512}, {400, 512}, {2000, 23}}) {
        SCOPED_TRACE(std::string(name(form)) + " cache " + std::to_string(cache_tokens));
        const auto speculated = answers(model, form, cache_tokens, max_rows);
        ASSERT_EQ(plain.size(), speculated.size());
        int drafted = 0;
        for (const auto& [id, outcome] : plain) {
          EXPECT_EQ(speculated.at(id).tokens, outcome.tokens) << "request " << id;
          EXPECT_EQ(speculated.at(id).finished, outcome.finished);
          drafted += speculated.at(id).drafted;
        }
        EXPECT_GT(drafted, 20) << "nothing was guessed, so nothing is proved";
      }
  }
}

// On which a step takes so long and each of its rows so much longer.
class TimedOps final : public ForwardingOps {
 public:
  TimedOps(Ops& inner, double step, double row) : ForwardingOps(inner), step_(step), row_(row) {}
  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    now += step_ + row_ * static_cast<double>(ids.size());
    return inner().embed(ids, table);
  }
  double now = 1;

 private:
  double step_, row_;
};

// Without guesses, and with them where rows cost nothing and where they are all that costs.
struct Costs {
  std::map<RequestId, Outcome> without, free, dear;
};
static Costs by_cost(TestModel& model, Speculation form, const std::vector<Request>& requests) {
  const auto run = [&](Speculation speculation, double row) {
    TimedOps ops(model.ops, 0.01, row);
    Engine engine(
        ops, model.transformer,
        {.context = 700, .cache_tokens = 4000, .speculation = speculation, .weigh_drafts = true, .seconds = [&ops] {
           return ops.now;
         }});
    for (const Request& request : requests) engine.submit(request);
    return run_to_end(engine);
  };
  return {run(Speculation::off, 0), run(form, 0), run(form, 1)};
}
static int drafted(const std::map<RequestId, Outcome>& outcomes) {
  int drafted = 0;
  for (const auto& [id, o] : outcomes) drafted += o.drafted;
  return drafted;
}
static void expect_same_tokens(const Costs& costs) {
  for (const auto& [id, o] : costs.without) {
    EXPECT_EQ(o.tokens, costs.free.at(id).tokens);
    EXPECT_EQ(o.tokens, costs.dear.at(id).tokens);
  }
}

TEST_P(Speculating, WeighingDraftsChangesNoAnswer) {
  TestModel model(golden_root() / GetParam().path, best_kernels(), DType::f32);
  for (const Speculation form : GetParam().forms) {
    std::vector<Request> requests;
    for (int i = 0; i < 4; ++i)
      requests.push_back({.prompt = prompt(i + 1), .sampling = {.temperature = 0.3, .seed = 5}, .max_tokens = 300});
    const Costs costs = by_cost(model, form, requests);
    expect_same_tokens(costs);
    EXPECT_GT(drafted(costs.free), 0);
    EXPECT_GT(drafted(costs.dear), 0) << "guesses are tried";
  }
}

// Nearly all of its guesses are right, but a guess is one more row.
TEST(TinyR1Speculating, GuessesWhileThatPays) {
  const auto golden = SafetensorsFile::parse(MappedFile(golden_root() / "tiny_r1/golden.safetensors"));
  const auto prompt_lengths = nlohmann::json::parse(golden.metadata().at("prompt_lengths"));
  TestModel model(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/tiny-r1", best_kernels());
  std::vector<Request> requests;
  for (int s = 0; s < 4; ++s) {
    const auto tokens = values<int32_t>(golden, "tokens." + std::to_string(s));
    requests.push_back(
        {.prompt = {tokens.begin(), tokens.begin() + prompt_lengths[static_cast<size_t>(s)].get<int>()},
         .sampling = {.temperature = 0},
         .max_tokens = 300});
  }
  const Costs costs = by_cost(model, Speculation::mtp, requests);
  expect_same_tokens(costs);
  EXPECT_GT(drafted(costs.free), 300);
  EXPECT_LT(drafted(costs.dear), drafted(costs.free) / 3);
}

INSTANTIATE_TEST_SUITE_P(Models, Speculating,
                         ::testing::Values(Model{"qwen2/window", {Speculation::lookup}},
                                           Model{"qwen/ntk_logn", {Speculation::lookup}},
                                           Model{"deepseek_v3/mtp", {Speculation::lookup, Speculation::mtp}}),
                         [](const auto& info) {
                           std::string text = info.param.path;
                           std::replace(text.begin(), text.end(), '/', '_');
                           return text;
                         });

}  // namespace cachalot::testing
