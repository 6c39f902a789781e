// Steps that fail: whatever throws ends the requests that it was done for, and nothing else changes for the others.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <type_traits>

#include "base/error.h"
#include "engine/engine.h"
#include "ops/forwarding.h"
#include "support/goldens.h"
#include "support/scarce_memory.h"

namespace cachalot::testing {

namespace {

// -- Verbs that fail

// Its n-th call of a verb throws, and no other: before the verb has begun, or when it has ended.
class FailingOps final : public ForwardingOps {
 public:
  explicit FailingOps(Ops& inner) : ForwardingOps(inner) {}

  void fail_at(int call) { calls_left_ = call; }
  bool failed() const { return calls_left_ < 0; }
  std::function<void()> after_logits;
  int block_copies = 0;

  Tensor embed(std::span<const int32_t> ids, const Weight& table) override {
    return verb([&] { return inner().embed(ids, table); });
  }
  Tensor linear(const Tensor& x, const Linear& l) override {
    return verb([&] { return inner().linear(x, l); });
  }
  std::vector<Tensor> linears(const Tensor& x, std::initializer_list<const Linear*> matrices) override {
    return verb([&] { return inner().linears(x, matrices); });
  }
  Tensor logits(const Tensor& hidden, const Linear& head) override {
    const Tensor result = verb([&] { return inner().logits(hidden, head); });
    if (after_logits) after_logits();
    return result;
  }
  Tensor rms_norm(const Tensor& x, const Weight& gain, double eps) override {
    return verb([&] { return inner().rms_norm(x, gain, eps); });
  }
  Tensor add(const Tensor& a, const Tensor& b) override {
    return verb([&] { return inner().add(a, b); });
  }
  Tensor gated(const Tensor& gate, const Tensor& up, const Activation& form) override {
    return verb([&] { return inner().gated(gate, up, form); });
  }
  Tensor sigmoid(const Tensor& x) override {
    return verb([&] { return inner().sigmoid(x); });
  }
  Tensor scale_rows(const Tensor& x, const Tensor& factor) override {
    return verb([&] { return inner().scale_rows(x, factor); });
  }
  Tensor concat(const Tensor& a, const Tensor& b) override {
    return verb([&] { return inner().concat(a, b); });
  }
  Tensor rope_angles(const Batch& batch, const RopeSpec& spec) override {
    return verb([&] { return inner().rope_angles(batch, spec); });
  }
  Tensor rope(const Tensor& x, const Tensor& angles, RopePairing pairing) override {
    return verb([&] { return inner().rope(x, angles, pairing); });
  }
  void append(KvCache& cache, int layer, const Batch& batch, const Tensor& k, const Tensor& v) override {
    verb([&] { inner().append(cache, layer, batch, k, v); });
  }
  Tensor attend(const Tensor& q, KvCache& cache, int layer, const Batch& batch, const AttendSpec& spec) override {
    return verb([&] { return inner().attend(q, cache, layer, batch, spec); });
  }
  Tensor attend_latent(const Tensor& qn, const Tensor& qr, const LatentWeights& w, KvCache& cache, int layer,
                       const Batch& batch, const AttendSpec& spec) override {
    return verb([&] { return inner().attend_latent(qn, qr, w, cache, layer, batch, spec); });
  }
  Routing route(const Tensor& logits, const Weight& correction, const MoeGateSpec& spec) override {
    return verb([&] { return inner().route(logits, correction, spec); });
  }
  Tensor experts(const Tensor& x, const Routing& routing, const ExpertWeights& w, const FfnForm& form) override {
    return verb([&] { return inner().experts(x, routing, w, form); });
  }
  Tensor gather_rows(const Tensor& x, std::span<const int32_t> rows) override {
    return verb([&] { return inner().gather_rows(x, rows); });
  }
  void copy_block(KvCache& cache, int group, int32_t from, int32_t to) override {
    ++block_copies;
    verb([&] { inner().copy_block(cache, group, from, to); });
  }
  std::span<const float> read(const Tensor& tensor, std::vector<float>& room) override {
    return verb([&] { return inner().read(tensor, room); });
  }
  Tensor keep_only(Arena::Mark mark, const Tensor& tensor) override {
    return verb([&] { return inner().keep_only(mark, tensor); });
  }

 private:
  template <typename Verb>
  std::invoke_result_t<Verb> verb(const Verb& call) {
    tick();
    if constexpr (std::is_void_v<std::invoke_result_t<Verb>>) {
      call();
      tick();
    } else {
      auto result = call();
      tick();
      return result;
    }
  }
  void tick() {
    if (calls_left_-- == 0) throw Error("a verb has failed");
  }

  int calls_left_ = 1 << 30;
};

// -- Requests and what becomes of them

struct Case {
  const char* path;
  Speculation speculation;
};

constexpr int kRequests = 4;
using Key = std::pair<RequestId, int>;  // and which answer

Request request(int i) {
  Request r{.prompt = {}, .sampling = {.temperature = 1, .seed = 5}, .max_tokens = 7 + i, .end_tokens = {}};
  if (i == 1) r.sampling = {.temperature = 0};
  if (i == 2) r.sampling = {.top_p = 0.9, .repeat_penalty = 1.1, .frequency_penalty = 0.1, .seed = 6};
  if (i == 0) r.answers = 2;
  if (i == 3) r.prompt_logprobs = 2;
  for (int t = 0; t < 5 + 37 * i; ++t) r.prompt.push_back((3 + 7 * (t % (5 + i))) % 89);  // lookups find something
  return r;
}

struct Outcome {
  std::vector<int32_t> tokens;
  std::optional<FinishReason> finished;
  std::string error;
};

class FailingStep : public ::testing::TestWithParam<Case> {
 protected:
  EngineOptions options{.context = 200,
                        .cache_tokens = 320,
                        .scheduler = {.max_rows = 50, .max_sequences = 4},
                        .speculation = GetParam().speculation};
  TestModel model{golden_root() / GetParam().path, best_kernels(), DType::bf16};
  FailingOps ops{model.ops};
  std::map<std::pair<int, int>, std::vector<int32_t>> alone;  // by request and answer

  void SetUp() override {
    for (int i = 0; i < kRequests; ++i)
      for (int answer = 0; answer < request(i).answers; ++answer) {
        Engine engine(model.ops, model.transformer, options);
        Request r = request(i);
        r.sampling.seed += static_cast<uint64_t>(answer);
        r.answers = 1;
        const auto id = engine.submit(r);
        alone[{i, answer}] = run_to_end(engine).at({id, 0}).tokens;
        ASSERT_EQ(alone.at({i, answer}).size(), static_cast<size_t>(7 + i));
      }
  }

  // `arm` is called before every step. A step that throws has not begun, and is tried again.
  template <typename Arm>
  static std::map<Key, Outcome> run_to_end(Engine& engine, const Arm& arm) {
    std::map<Key, Outcome> outcomes;
    for (int step = 0; !engine.idle() && step < 1000; ++step) {
      std::vector<Event> events;
      arm(step);
      try {
        events = engine.step();
      } catch (const std::bad_alloc&) {}
      scarce_memory.failing = 0;
      engine.check_invariants();
      for (const Event& event : events) {
        Outcome& outcome = outcomes[{event.request, event.answer}];
        EXPECT_FALSE(outcome.finished) << "an event after the end";
        if (event.token) outcome.tokens.push_back(*event.token);
        outcome.finished = event.finished;
        outcome.error = event.error;
      }
    }
    EXPECT_TRUE(engine.idle());
    return outcomes;
  }
  static std::map<Key, Outcome> run_to_end(Engine& engine) {
    return run_to_end(engine, [](int) {});
  }

  // Runs all requests, of which some may fail with `reason`. Returns how many have.
  template <typename Arm>
  int run_all(const Arm& arm, const std::string& reason) {
    Engine engine(ops, model.transformer, options);
    const Arena::Mark mark = ops.arena().mark();
    std::map<RequestId, int> index;
    for (int i = 0; i < kRequests; ++i) index[engine.submit(request(i))] = i;
    int failed = 0;
    const auto outcomes = run_to_end(engine, arm);
    EXPECT_EQ(outcomes.size(), alone.size());
    for (const auto& [key, outcome] : outcomes) {
      const auto [id, answer] = key;
      const auto& want = alone.at({index.at(id), answer});
      EXPECT_TRUE(outcome.finished);
      if (outcome.finished != FinishReason::error) {
        EXPECT_EQ(outcome.tokens, want) << "request " << index.at(id);
        continue;
      }
      ++failed;
      EXPECT_EQ(outcome.error, reason);
      EXPECT_LE(outcome.tokens.size(), want.size());
      EXPECT_TRUE(std::equal(outcome.tokens.begin(), outcome.tokens.end(), want.begin()));
      const auto again = engine.submit(request(index.at(id)));
      EXPECT_EQ(run_to_end(engine).at({again, answer}).tokens, want) << "asked for again";
    }
    for (int g = 0; g < engine.cache().groups(); ++g)
      EXPECT_EQ(engine.cache().pool(g).in_use(), 0) << "a block is lost";
    EXPECT_EQ(ops.arena().mark().block, mark.block);
    EXPECT_EQ(ops.arena().mark().offset, mark.offset);
    return failed;
  }
};

}  // namespace

// So many run, or are answers that wait for the prompt of one that does.
constexpr int kMostFailed = 4;

TEST_P(FailingStep, AVerbThatThrowsEndsTheRequestsOfItsStepAndNoOthers) {
  int call = 0, most_failed = 0;
  for (; !HasFailure(); call += 1 + call / 300 * 20) {  // each of the first steps' calls, then some
    SCOPED_TRACE("call " + std::to_string(call));
    ops.fail_at(call);
    const int failed = run_all([](int) {}, "a verb has failed");
    if (!ops.failed()) break;
    EXPECT_GE(failed, 1);
    EXPECT_LE(failed, kMostFailed);
    most_failed = std::max(most_failed, failed);
  }
  EXPECT_GT(call, 600);
  EXPECT_EQ(most_failed, kMostFailed);
  EXPECT_GT(ops.block_copies, 100);
}

TEST_P(FailingStep, MemoryThatRunsOutAnywhereEndsNoMoreThanTheStepsOwnRequests) {
  std::map<int, int> times;  // by how many requests have ended with an error
  for (const int failing_step : {0, 1, 2, 5, 9}) {
    bool reached = true;
    for (int n = 0; reached && !HasFailure(); n += 1 + n / 40) {
      SCOPED_TRACE("step " + std::to_string(failing_step) + ", allocation " + std::to_string(n));
      const int failed = run_all(
          [&](int step) {
            if (step == failing_step) scarce_memory = {.spared = n, .failing = 1};
            if (step == failing_step + 1) reached = scarce_memory.spared < 0;
          },
          "out of memory");
      EXPECT_LE(failed, kMostFailed);
      ++times[failed];
    }
  }
  EXPECT_GT(times[0], 5) << "plans are made before a step begins";
  EXPECT_GT(times[4], 20);
}

TEST_P(FailingStep, ASamplerThatFailsEndsItsOwnRequestAlone) {
  std::map<int, int> times;  // by how many requests have ended with an error
  for (int n = 0; n < 40 && !HasFailure(); ++n) {
    SCOPED_TRACE("allocation " + std::to_string(n));
    int left = 1;
    ops.after_logits = [&] {  // of the first step, in which requests choose
      if (left-- == 1) scarce_memory = {.spared = n, .failing = 1};
    };
    ++times[run_all([](int) {}, "out of memory")];
  }
  EXPECT_GT(times[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Models, FailingStep,
                         ::testing::Values(Case{"qwen2/window", Speculation::lookup},
                                           Case{"deepseek_v3/mtp", Speculation::mtp}),
                         [](const auto& info) {
                           std::string text = info.param.path;
                           std::replace(text.begin(), text.end(), '/', '_');
                           return text;
                         });

}  // namespace cachalot::testing
