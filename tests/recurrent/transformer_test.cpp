// Recurrent layers in the real Transformer: right, and the same bits however a sequence is cut into steps.
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "ops/plain_ops.h"
#include "ops/trace_ops.h"
#include "recurrent/models.h"
#include "support/guarded_ops.h"
#include "support/kernels.h"

namespace cachalot::testing {

using Rows = std::vector<std::vector<float>>;

static Rows scored(Ops& ops, const Transformer& transformer, const Tokens& tokens, const ScoreOptions& options) {
  Rows rows(tokens.size());
  score(ops, transformer, tokens, options, [&](int row, std::span<const float> logits) {
    rows[static_cast<size_t>(row)].assign(logits.begin(), logits.end());
  });
  return rows;
}
static Rows scored(const Model& m, const Tokens& tokens, const ScoreOptions& options) {
  return scored(*m.ops, m.transformer, tokens, options);
}

// Steps of given rows of given sequences, each in the slot and the blocks of its number.
class Steps {
 public:
  Steps(Ops& ops, const Transformer& transformer, int sequences)
      : ops_(ops), transformer_(transformer), layout_(cache_layout(transformer.spec())) {
    constexpr int kBlocks = 8;
    cache_ = ops.make_cache({.layers = layout_.layers,
                             .blocks_of_group = std::vector<int>(layout_.group_windows.size(), kBlocks * sequences),
                             .dtype = DType::bf16});
    states_ = ops.make_states(layout_.states, sequences);
    for (int s = 0; s < sequences; ++s) {
      tables_.emplace_back();
      for (int b = 0; b < kBlocks; ++b) tables_.back().push_back(b * sequences + s);
      ops.clear_state(*states_, s);
    }
  }

  struct Part {
    int sequence, first;
    Tokens tokens;
  };
  Rows run(const std::vector<Part>& parts) {
    Batch batch;
    for (const Part& p : parts) {
      batch.sequences.push_back(
          {.first_row = static_cast<int>(batch.rows()),
           .rows = static_cast<int>(p.tokens.size()),
           .first_position = p.first,
           .rope_tokens = 200,
           .block_tables = {layout_.group_windows.size(), tables_[static_cast<size_t>(p.sequence)]},
           .state_slot = p.sequence});
      batch.tokens_T.insert(batch.tokens_T.end(), p.tokens.begin(), p.tokens.end());
    }
    const auto mark = ops_.arena().mark();
    const Tensor logits = transformer_.head(ops_, transformer_.forward(ops_, batch, *cache_, states_.get()));
    std::vector<float> room;
    const auto numbers = ops_.read(logits, room);
    Rows rows;
    for (auto at = numbers.begin(); at != numbers.end(); at += logits.last())
      rows.emplace_back(at, at + logits.last());
    ops_.arena().rewind(mark);
    return rows;
  }

  States& states() { return *states_; }

 private:
  Ops& ops_;
  const Transformer& transformer_;
  CacheLayout layout_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<States> states_;
  std::vector<std::vector<int32_t>> tables_;
};

static Tokens part_of(const Tokens& tokens, int first, int rows) {
  return {tokens.begin() + first, tokens.begin() + first + rows};
}

// The recurrence as its formula says, in f64, over all rows from the first; nothing of ours but the weights' numbers.
TEST(Recurrence, MatchesALoopInF64) {
  constexpr int D = 6, N = 5, T = 150;
  const std::vector<float> gate_ND = random_normal(N * D, 1), bias_N = random_normal(N, 2, 2),
                           input_ND = random_normal(N * D, 3), out_DN = random_normal(D * N, 4),
                           x_TD = random_normal(T * D, 5);
  std::vector<double> want_TD(T * D), h_N(N, 0.0);
  for (int t = 0; t < T; ++t) {
    for (int n = 0; n < N; ++n) {
      double gate = bias_N[n], input = 0;
      for (int d = 0; d < D; ++d) {
        gate += static_cast<double>(gate_ND[n * D + d]) * x_TD[t * D + d];
        input += static_cast<double>(input_ND[n * D + d]) * x_TD[t * D + d];
      }
      h_N[n] = h_N[n] / (1 + std::exp(-gate)) + input;
    }
    for (int d = 0; d < D; ++d)
      for (int n = 0; n < N; ++n) want_TD[t * D + d] += static_cast<double>(out_DN[d * N + n]) * h_N[n];
  }

  const auto stored = [](const std::vector<float>& numbers, std::vector<int64_t> shape) {
    return StoredTensor{
        .name = "w", .dtype = DType::f32, .shape = std::move(shape), .bytes = std::as_bytes(std::span(numbers))};
  };
  std::vector<std::unique_ptr<Ops>> all;
  all.push_back(std::make_unique<PlainOps>());
  for (const KernelTable* kernels : usable_kernels()) all.push_back(std::make_unique<CpuOps>(*kernels, 1));
  for (const auto& op : all)
    for (const int chunk : {T, 64, 9}) {
      const RecurrenceSpec spec{.channels = N};
      const RecurrenceWeights w{
          .gate = {op->load_matrix({stored(gate_ND, {N, D})}, DType::f32), op->load_vector(stored(bias_N, {N}))},
          .input = {op->load_matrix({stored(input_ND, {N, D})}, DType::f32), {}},
          .out = {op->load_matrix({stored(out_DN, {D, N})}, DType::f32), {}}};
      const Weight x = op->load_matrix({stored(x_TD, {T, D})}, DType::f32);
      const auto cache = op->make_cache({.layers = {}, .blocks_of_group = {}, .dtype = DType::f32});
      const StateLayer layer = spec.cached().state;
      const auto states = op->make_states({&layer, 1}, 1);
      op->clear_state(*states, 0);
      for (int first = 0; first < T; first += chunk) {
        const int rows = std::min(chunk, T - first);
        std::vector<int32_t> ids(static_cast<size_t>(rows));
        for (int r = 0; r < rows; ++r) ids[r] = first + r;
        Batch batch{.tokens_T = ids, .sequences = {{.rows = rows, .first_position = first, .state_slot = 0}}};
        const StepContext step{.batch = batch,
                               .cache = *cache,
                               .layer = -1,
                               .states = states.get(),
                               .state_layer = 0,
                               .angles_TR = {},
                               .prefix = ""};
        std::vector<float> room;
        const auto y = op->read(spec.forward(*op, w, op->embed(ids, x), step), room);
        for (int i = 0; i < rows * D; ++i)
          ASSERT_NEAR(y[static_cast<size_t>(i)], want_TD[static_cast<size_t>(first * D + i)], 2e-5)
              << first << " + " << i;
      }
    }
}

TEST(Recurrence, LogitsDependOnTheSequenceAlone) {
  for (const bool mixed : {false, true})
    for (const KernelTable* kernels : usable_kernels()) {
      SCOPED_TRACE(fmt::format("{} {}", kernels->isa, mixed ? "mixed" : "recurrent layers alone"));
      const Model model = cpu_model(model_spec(mixed), *kernels),
                  two_threads = cpu_model(model_spec(mixed), *kernels, 2);
      const Tokens tokens = some_tokens(210, 61, 1);
      const Rows whole = scored(model, tokens, {.chunk = 1000});
      for (const int chunk : {1, 7, 64, 65, 128})
        EXPECT_EQ(whole, scored(model, tokens, {.chunk = chunk})) << "chunks of " << chunk;
      EXPECT_EQ(whole, scored(model, tokens, {.chunk = 1000, .decode_from = 90})) << "90, then one by one";
      EXPECT_EQ(whole, scored(two_threads, tokens, {.chunk = 70})) << "two threads";
    }
}

TEST(Recurrence, LogitsAreThoseOfThePlainVerbs) {
  for (const bool mixed : {false, true}) {
    const Model model = cpu_model(model_spec(mixed), best_kernels()),
                plain(std::make_unique<PlainOps>(), model_spec(mixed));
    const Tokens tokens = some_tokens(140, 61, 2);
    const Rows got = scored(model, tokens, {.kv = DType::f32}),
               want = scored(plain, tokens, {.kv = DType::f32, .chunk = 50});
    for (size_t t = 0; t < want.size(); ++t)
      for (size_t i = 0; i < want[t].size(); ++i) ASSERT_NEAR(got[t][i], want[t][i], 1e-4) << t;
  }
}

// Numbers of slots are read and written within verbs alone.
TEST(Recurrence, RunsWhereTheHostMayNotReadTheStates) {
  const Model model = cpu_model(model_spec(true), best_kernels()),
              guarded(std::make_unique<GuardedOps>(best_kernels(), 1), model_spec(true));
  const Tokens tokens = some_tokens(140, 61, 2);
  EXPECT_EQ(scored(model, tokens, {.chunk = 50}), scored(guarded, tokens, {.chunk = 50}));
}

TEST(Recurrence, ATraceSeesItsPoints) {
  const Model model = cpu_model(model_spec(true), best_kernels());
  const Tokens tokens = some_tokens(70, 61, 3);
  std::vector<std::string> points;
  TraceOps trace(*model.ops, [&](std::string_view point, const Tensor&, std::span<const float> numbers) {
    if (point.ends_with("attn.recurrence")) points.push_back(fmt::format("{} {}", point, numbers.size()));
  });
  scored(trace, model.transformer, tokens, {});
  EXPECT_EQ(points, (std::vector<std::string>{"layer.0.attn.recurrence 700", "layer.2.attn.recurrence 490"}));
}

TEST(Recurrence, SequencesSideBySideDoNotMix) {
  for (const bool mixed : {false, true}) {
    const Model model = cpu_model(model_spec(mixed), best_kernels(), 2);
    std::vector<Tokens> texts;
    for (const int length : {61, 190, 1, 130, 64, 65, 128, 3})
      texts.push_back(some_tokens(length, 61, 10 + texts.size()));
    Steps steps(*model.ops, model.transformer, static_cast<int>(texts.size()));
    std::vector<Rows> together(texts.size());
    Random random(5);
    for (bool more = true; more;) {
      std::vector<Steps::Part> parts;
      for (int s = 0; s < std::ssize(texts); ++s) {
        const Tokens& text = texts[static_cast<size_t>(s)];
        const auto done = static_cast<int>(together[static_cast<size_t>(s)].size()),
                   left = static_cast<int>(text.size()) - done;
        const int rows = std::min(left, random.next() % 3 == 0 ? 1 : 1 + static_cast<int>(random.next() % 70));
        if (rows > 0) parts.push_back({s, done, part_of(text, done, rows)});
      }
      more = !parts.empty();
      if (!more) break;
      auto rows = steps.run(parts);
      auto row = rows.begin();
      for (const auto& p : parts)
        for (size_t r = 0; r < p.tokens.size(); ++r)
          together[static_cast<size_t>(p.sequence)].push_back(std::move(*row++));
    }
    for (size_t s = 0; s < texts.size(); ++s) EXPECT_EQ(together[s], scored(model, texts[s], {})) << s;
  }
}

// Rows of guesses, anywhere about the end of a chunk, and up to as many as may be uncertain, leave nothing behind.
TEST(Recurrence, RefusedDraftsLeaveNoTrace) {
  for (const bool mixed : {false, true}) {
    const Model model = cpu_model(model_spec(mixed), best_kernels());
    const Tokens tokens = some_tokens(150, 61, 4), wrong = some_tokens(kBlockTokens, 61, 99);
    const Rows whole = scored(model, tokens, {});
    for (const int drafts : {1, 5, kBlockTokens - 1})
      for (const int start : {50, 63, 64, 65, 100, 127}) {
        SCOPED_TRACE(fmt::format("{} drafts from {}", drafts, start));
        Steps steps(*model.ops, model.transformer, 1);
        steps.run({{0, 0, part_of(tokens, 0, start)}});
        for (int p = start; p < std::ssize(tokens); ++p) {  // the token, and guesses that all are refused
          Tokens rows = part_of(tokens, p, 1);
          rows.insert(rows.end(), wrong.begin(), wrong.begin() + drafts);
          ASSERT_EQ(steps.run({{0, p, rows}})[0], whole[static_cast<size_t>(p)]) << p;
        }
      }
  }
}

// A slot is a snapshot of its sequence: whoever gets a copy goes on as the sequence would, there or at an earlier
// position of the same chunk, and of the one before.
TEST(Recurrence, ACopiedSlotGoesOn) {
  const Model model = cpu_model(model_spec(false), best_kernels());
  const Tokens tokens = some_tokens(150, 61, 6), other = some_tokens(150, 61, 7);
  const Rows whole = scored(model, tokens, {});
  for (const int at : {10, 63, 64, 100, 128})
    for (const int from : {at, (at / kBlockTokens * kBlockTokens + at) / 2, at / kBlockTokens * kBlockTokens,
                           std::max(0, at / kBlockTokens - 1) * kBlockTokens}) {
      SCOPED_TRACE(fmt::format("copied at {}, goes on from {}", at, from));
      Tokens fork = part_of(tokens, 0, from);
      fork.insert(fork.end(), other.begin(), other.begin() + 20);
      const Rows of_fork = scored(model, fork, {});
      Steps steps(*model.ops, model.transformer, 2);
      steps.run({{1, 0, part_of(other, 0, 130)}, {0, 0, part_of(tokens, 0, at)}});
      model.ops->copy_state(steps.states(), 0, 1);
      const Rows both = steps.run({{0, at, part_of(tokens, at, 20)}, {1, from, part_of(other, 0, 20)}});
      for (size_t r = 0; r < 20; ++r) {
        EXPECT_EQ(both[r], whole[static_cast<size_t>(at) + r]);
        EXPECT_EQ(both[20 + r], of_fork[static_cast<size_t>(from) + r]);
      }
    }
}

}  // namespace cachalot::testing
