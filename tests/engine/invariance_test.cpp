// The same request gives bit-identical logits alone, in any chunking, one by one, in a ragged batch and on any number
// of threads, in every weight and cache type. (docs/architecture.md, "Invariance")
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

using Rows = std::vector<std::vector<float>>;
using Tokens = std::vector<int32_t>;

static Rows scored(TestModel& model, const Tokens& tokens, const ScoreOptions& options) {
  Rows rows(tokens.size());
  score(model.ops, model.transformer, tokens, options, [&](int row, std::span<const float> logits) {
    rows[static_cast<size_t>(row)].assign(logits.begin(), logits.end());
  });
  return rows;
}

static Tokens some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  Tokens tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}

using Form = std::vector<PositionSpan>;  // MLA: positions that take the expanded form

// Several sequences run side by side, in steps of as many rows of each as `rows_of(left)` says.
class RaggedBatches {
 public:
  RaggedBatches(TestModel& model, const std::vector<Tokens>& sequences, DType kv, const Form& form)
      : model_(model), sequences_(sequences), form_(form), done_(sequences.size()) {
    const CacheLayout layout = cache_layout(model.transformer.spec());
    groups_ = layout.group_windows.size();
    const int blocks = 16, count = static_cast<int>(sequences.size());
    cache_ = model.ops.make_cache(
        {.layers = layout.layers, .blocks_of_group = std::vector<int>(groups_, blocks * count), .dtype = kv});
    for (int s = 0; s < count; ++s) {  // interleaved, so that no sequence's blocks are adjacent
      tables_.emplace_back();
      for (int b = 0; b < blocks; ++b) tables_.back().push_back(b * count + s);
    }
  }

  std::vector<Rows> run(const std::function<int(int)>& rows_of) {
    std::vector<Rows> results(sequences_.size());
    for (;;) {
      std::vector<size_t> owners;
      const Batch batch = next_batch(rows_of, owners);
      if (owners.empty()) return results;
      const auto mark = model_.ops.arena().mark();
      const Tensor logits =
          model_.transformer.head(model_.ops, model_.transformer.forward(model_.ops, batch, *cache_));
      for (size_t i = 0; i < owners.size(); ++i)
        for (int r = 0; r < batch.sequences[i].rows; ++r) {
          const float* row = logits.row(batch.sequences[i].first_row + r);
          results[owners[i]].emplace_back(row, row + logits.last());
        }
      model_.ops.arena().rewind(mark);
    }
  }

 private:
  Batch next_batch(const std::function<int(int)>& rows_of, std::vector<size_t>& owners) {
    Batch batch;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const Tokens& tokens = sequences_[s];
      const int left = static_cast<int>(tokens.size()) - done_[s];
      if (left == 0) continue;
      const int rows = std::min(left, rows_of(left));
      batch.sequences.push_back({.first_row = static_cast<int>(batch.rows()),
                                 .rows = rows,
                                 .first_position = done_[s],
                                 .rope_tokens = static_cast<int>(tokens.size()),
                                 .expanded = form_,
                                 .block_tables = std::vector<std::span<const int32_t>>(groups_, tables_[s])});
      batch.tokens_T.insert(batch.tokens_T.end(), tokens.begin() + done_[s], tokens.begin() + done_[s] + rows);
      done_[s] += rows;
      owners.push_back(s);
    }
    return batch;
  }

  TestModel& model_;
  const std::vector<Tokens>& sequences_;
  const Form form_;
  size_t groups_;
  std::unique_ptr<KvCache> cache_;
  std::vector<Tokens> tables_;
  std::vector<int> done_;
};

// No position expanded, all, a boundary in the middle of a chunk and of a block, and answers in between. Other models
// have one form.
static std::vector<Form> forms_of(const ModelSpec& spec) {
  if (!std::holds_alternative<MlaSpec>(spec.layers[0].attention)) return {{}};
  return {{}, {{0, 1000}}, {{0, 100}}, {{0, 10}, {30, 63}, {129, 169}}};
}

struct Mode {
  std::optional<DType> weights;  // none: as stored
  DType kv;
};

class Invariance : public ::testing::TestWithParam<std::tuple<const char*, Mode>> {};

TEST_P(Invariance, LogitsDependOnTheSequenceAlone) {
  const auto& [folder, mode] = GetParam();
  const DType kv = mode.kv;
  for (const KernelTable* kernels : usable_kernels()) {
    TestModel model(golden_root() / folder, *kernels, mode.weights),
        two_threads(golden_root() / folder, *kernels, mode.weights, 2);
    const int vocab = model.transformer.spec().vocab;
    const std::vector<Tokens> sequences = {some_tokens(61, vocab, 2), some_tokens(190, vocab, 1),
                                           some_tokens(1, vocab, 3), some_tokens(130, vocab, 4)};
    const Tokens& tokens = sequences[1];
    for (const Form& form : forms_of(model.transformer.spec())) {
      SCOPED_TRACE(fmt::format("{}, {} spans expanded", kernels->isa, form.size()));
      const Rows whole = scored(model, tokens, {.kv = kv, .chunk = 1000, .expanded = form});
      for (const int chunk : {1, 7, 64, 65})
        EXPECT_EQ(whole, scored(model, tokens, {.kv = kv, .chunk = chunk, .expanded = form}))
            << "chunks of " << chunk;
      EXPECT_EQ(whole, scored(model, tokens, {.kv = kv, .chunk = 1000, .decode_from = 90, .expanded = form}))
          << "90, then one by one";
      EXPECT_EQ(whole, scored(two_threads, tokens, {.kv = kv, .chunk = 70, .expanded = form})) << "two threads";

      Random random(5);
      const auto ragged = [&](int) { return random.next() % 3 == 0 ? 1 : 1 + static_cast<int>(random.next() % 50); };
      const auto together = RaggedBatches(two_threads, sequences, kv, form).run(ragged);
      for (size_t s = 0; s < sequences.size(); ++s)
        EXPECT_EQ(together[s], scored(model, sequences[s], {.kv = kv, .expanded = form}))
            << "sequence " << s << " of a ragged batch";
    }
  }
}

// One or two cases of every family, such that every mechanism of a block is in one of them.
static constexpr const char* kCases[] = {
    "llama/plain",
    "llama/dynamic",
    "qwen2/plain",
    "qwen2/window",
    "qwen3/plain",
    "qwen3/dynamic_window",
    "qwen/ntk_logn",
    "qwen2_moe/plain",
    "qwen3_moe/plain",
    "deepseek_v2/plain",
    "deepseek_v2/groups",
    "deepseek_v3/mtp",
    "cachalot/report_qwen",
    "cachalot/report_deepseek",
    "cachalot/shared_experts",
    "cachalot/compressed_windows",
};
static std::string test_name(const ::testing::TestParamInfo<Invariance::ParamType>& info) {
  const auto& [path, mode] = info.param;
  std::string label = case_name(path) + "_" + (mode.weights ? std::string(name(*mode.weights)) : "stored");
  if (mode.kv == DType::q8_0) label += "_cache_q8_0";
  std::replace_if(label.begin(), label.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return label;
}
INSTANTIATE_TEST_SUITE_P(Cases, Invariance,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(Mode{DType::f32, DType::f32},
                                                              Mode{DType::bf16, DType::bf16},
                                                              Mode{DType::bf16, DType::q8_0})),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Fp8, Invariance,
                         ::testing::Combine(::testing::Values("qwen3_moe/fp8", "deepseek_v3/fp8"),
                                            ::testing::Values(Mode{std::nullopt, DType::bf16})),
                         test_name);

// Every quantized type as stored, and re-quantized by --weights where rows fill their blocks.
INSTANTIATE_TEST_SUITE_P(Quantized, Invariance,
                         ::testing::Combine(::testing::Values("gguf/quants.gguf"),
                                            ::testing::Values(Mode{std::nullopt, DType::bf16})),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Requantized, Invariance,
                         ::testing::Combine(::testing::Values("qwen3_moe/fused"),
                                            ::testing::Values(Mode{DType::q8_0, DType::bf16},
                                                              Mode{DType::q4_k, DType::bf16})),
                         test_name);
INSTANTIATE_TEST_SUITE_P(RequantizedTinyR1, Invariance,
                         ::testing::Combine(::testing::Values("../../models/tiny-r1"),
                                            ::testing::Values(Mode{DType::q4_0, DType::bf16})),
                         test_name);

TEST(InvarianceOfSymmetricWindows, AWholeTextIsTheSameAloneAmongOthersAndOnTwoThreads) {
  const auto folder = golden_root() / "cachalot/symmetric";
  for (const KernelTable* kernels : usable_kernels()) {
    SCOPED_TRACE(kernels->isa);
    for (const DType type : {DType::f32, DType::bf16}) {
      TestModel model(folder, *kernels, type), two_threads(folder, *kernels, type, 2);
      const std::vector<Tokens> sequences = {some_tokens(61, 149, 2), some_tokens(150, 149, 1),
                                             some_tokens(1, 149, 3), some_tokens(65, 149, 4)};
      const auto together = RaggedBatches(two_threads, sequences, type, {}).run([](int left) { return left; });
      for (size_t s = 0; s < sequences.size(); ++s)
        EXPECT_EQ(together[s], scored(model, sequences[s], {.kv = type})) << "sequence " << s;
    }
  }
}

}  // namespace cachalot::testing
