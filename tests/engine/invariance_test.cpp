// The same request gives bit-identical logits alone, in any chunking, one by one, in a ragged batch and on any number
// of threads, in every weight and cache type. (docs/architecture.md, "Invariance")
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "support/goldens.h"

namespace cachalot::testing {

using Rows = std::vector<std::vector<float>>;

static Rows scored(TestModel& model, const std::vector<int32_t>& tokens, const ScoreOptions& options) {
  Rows rows(tokens.size());
  score(model.ops, model.transformer, tokens, options, [&](int row, std::span<const float> logits) {
    rows[static_cast<size_t>(row)].assign(logits.begin(), logits.end());
  });
  return rows;
}

static std::vector<int32_t> some_tokens(int count, int vocab, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab)));
  return tokens;
}

// Several sequences cut into ragged steps that mix prefill chunks of some with single tokens of others.
static std::vector<Rows> scored_in_ragged_batch(TestModel& model, const std::vector<std::vector<int32_t>>& sequences,
                                                DType kv) {
  const CacheLayout layout = cache_layout(model.transformer.spec());
  const int blocks = 16;
  const auto cache = model.ops.make_cache(
      {.layers = layout.layers,
       .blocks_of_group = std::vector<int>(layout.group_windows.size(), blocks * static_cast<int>(sequences.size())),
       .dtype = kv});
  std::vector<std::vector<int32_t>> tables(sequences.size());
  for (size_t s = 0; s < sequences.size(); ++s)  // interleaved, so that no sequence's blocks are adjacent
    for (int b = 0; b < blocks; ++b)
      tables[s].push_back(b * static_cast<int>(sequences.size()) + static_cast<int>(s));

  std::vector<Rows> results(sequences.size());
  std::vector<int> done(sequences.size());
  Random random(5);
  for (bool more = true; more;) {
    more = false;
    Batch batch;
    for (size_t s = 0; s < sequences.size(); ++s) {
      const int left = static_cast<int>(sequences[s].size()) - done[s];
      if (left == 0) continue;
      const int rows = std::min<int>(left, random.next() % 3 == 0 ? 1 : 1 + static_cast<int>(random.next() % 50));
      batch.sequences.push_back(
          {.first_row = static_cast<int>(batch.rows()),
           .rows = rows,
           .first_position = done[s],
           .rope_tokens = static_cast<int>(sequences[s].size()),
           .block_tables = std::vector<std::span<const int32_t>>(layout.group_windows.size(), tables[s])});
      batch.tokens_T.insert(batch.tokens_T.end(), sequences[s].begin() + done[s],
                            sequences[s].begin() + done[s] + rows);
      done[s] += rows;
      more = true;
    }
    if (!more) break;
    const auto mark = model.ops.arena().mark();
    const Tensor logits = model.transformer.head(model.ops, model.transformer.forward(model.ops, batch, *cache));
    size_t next = 0;
    for (size_t s = 0; s < sequences.size(); ++s) {
      if (next == batch.sequences.size() || batch.sequences[next].block_tables[0].data() != tables[s].data())
        continue;
      const BatchSequence& entry = batch.sequences[next++];
      for (int r = 0; r < entry.rows; ++r)
        results[s].emplace_back(logits.row(entry.first_row + r), logits.row(entry.first_row + r) + logits.last());
    }
    model.ops.arena().rewind(mark);
  }
  return results;
}

struct Mode {
  DType weights, kv;
};

class Invariance : public ::testing::TestWithParam<std::tuple<std::filesystem::path, Mode>> {};

TEST_P(Invariance, LogitsDependOnTheSequenceAlone) {
  const auto& [path, mode] = GetParam();
  for (const KernelTable* kernels : all_kernels()) {
    if (!kernels->usable()) continue;
    SCOPED_TRACE(kernels->isa);
    TestModel model(path, *kernels, mode.weights), two_threads(path, *kernels, mode.weights, 2);
    const int vocab = model.transformer.spec().vocab;
    const auto tokens = some_tokens(200, vocab, 1);
    const Rows whole = scored(model, tokens, {.kv = mode.kv, .chunk = 1000});

    EXPECT_EQ(whole, scored(model, tokens, {.kv = mode.kv, .chunk = 17})) << "chunks of 17";
    EXPECT_EQ(whole, scored(model, tokens, {.kv = mode.kv, .chunk = 64})) << "chunks of 64";
    EXPECT_EQ(whole, scored(model, tokens, {.kv = mode.kv, .chunk = 1000, .decode_from = 90}))
        << "90, then one by one";
    EXPECT_EQ(whole, scored(two_threads, tokens, {.kv = mode.kv, .chunk = 70})) << "two threads";

    const std::vector<std::vector<int32_t>> sequences = {some_tokens(61, vocab, 2), tokens, some_tokens(1, vocab, 3),
                                                         some_tokens(130, vocab, 4)};
    const auto together = scored_in_ragged_batch(two_threads, sequences, mode.kv);
    for (size_t s = 0; s < sequences.size(); ++s)
      EXPECT_EQ(together[s], scored(model, sequences[s], {.kv = mode.kv}))
          << "sequence " << s << " of a ragged batch";
  }
}

static std::vector<std::filesystem::path> invariant_cases() {
  std::vector<std::filesystem::path> cases;
  for (const auto& path : golden_cases())
    if (path.filename().string().find("long") == std::string::npos) cases.push_back(path);
  return cases;
}

static std::string case_name(const ::testing::TestParamInfo<Invariance::ParamType>& info) {
  const auto& [path, mode] = info.param;
  return path.parent_path().filename().string() + "_" + path.filename().string() + "_" +
         std::string(name(mode.weights));
}
INSTANTIATE_TEST_SUITE_P(Cases, Invariance,
                         ::testing::Combine(::testing::ValuesIn(invariant_cases()),
                                            ::testing::Values(Mode{DType::f32, DType::f32},
                                                              Mode{DType::bf16, DType::bf16})),
                         case_name);

}  // namespace cachalot::testing
