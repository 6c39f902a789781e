// The module of multi-token prediction: its logits are the reference's, however the sequence is cut, and the model
// beside it computes what it computes without.
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "engine/scoring.h"
#include "ops/trace_ops.h"
#include "support/goldens.h"
#include "support/kernels.h"

namespace cachalot::testing {

static const std::filesystem::path kFolder = golden_root() / "deepseek_v3/mtp";

struct Cut {
  int chunk = 1000;
  int expanded = 0;
  DType kv = DType::f32;
};

// The module's logits of rows 0 … T-2 of a sequence: row i sees the model's hidden state of position i and token
// i + 1.
static std::vector<float> predictions(Ops& ops, const Transformer& transformer, const std::vector<int32_t>& tokens,
                                      const Cut& cut) {
  const CacheLayout layout = cache_layout(transformer.spec());
  const int total = static_cast<int>(tokens.size()), blocks = total / kBlockTokens + 1;
  const PositionSpan expanded[] = {{0, cut.expanded}};
  const auto cache = ops.make_cache({.layers = layout.layers, .blocks_of_group = {blocks}, .dtype = cut.kv});
  std::vector<int32_t> table(static_cast<size_t>(blocks));
  std::iota(table.rbegin(), table.rend(), 0);

  std::vector<float> logits;
  for (int done = 0; done < total; done += cut.chunk) {
    const int rows = std::min(cut.chunk, total - done), predicted = std::min(rows, total - 1 - done);
    const auto batch_of = [&](int first_token, int count) {
      Batch batch;
      batch.tokens_T.assign(tokens.begin() + first_token, tokens.begin() + first_token + count);
      batch.sequences = {{.rows = count,
                          .first_position = done,
                          .rope_tokens = total,
                          .expanded = expanded,
                          .block_tables = {table}}};
      return batch;
    };
    const auto mark = ops.arena().mark();
    Tensor hidden_TD = transformer.forward(ops, batch_of(done, rows), *cache);
    if (predicted > 0) {
      std::vector<int32_t> first(static_cast<size_t>(predicted));
      std::iota(first.begin(), first.end(), 0);
      hidden_TD = ops.gather_rows(hidden_TD, first);
      const Tensor logits_TW =
          transformer.head(ops, transformer.forward_mtp(ops, batch_of(done + 1, predicted), hidden_TD, *cache));
      logits.insert(logits.end(), logits_TW.data(), logits_TW.data() + logits_TW.elements());
    }
    ops.arena().rewind(mark);
  }
  return logits;
}

static std::vector<float> predictions(TestModel& model, const std::vector<int32_t>& tokens, const Cut& cut) {
  return predictions(model.ops, model.transformer, tokens, cut);
}

static std::vector<float> rows_of(const std::vector<float>& all, const std::vector<int32_t>& rows, size_t vocab) {
  std::vector<float> some;
  for (const int32_t row : rows) {
    const float* begin = all.data() + static_cast<size_t>(row) * vocab;
    some.insert(some.end(), begin, begin + vocab);
  }
  return some;
}

TEST(MultiTokenPrediction, AgreesWithTheReferenceInBothFormsOfAttentionOnEveryIsa) {
  const Golden golden = Golden::read(kFolder);
  int compared = 0;
  for (const KernelTable* kernels : usable_kernels()) {
    TestModel model(kFolder, *kernels);
    for (const GoldenSequence& q : golden.sequences) {
      if (q.mtp_rows.empty()) continue;
      for (const int expanded : {0, q.length(), 100}) {
        SCOPED_TRACE(fmt::format("{}, {} tokens, {} expanded", kernels->isa, q.length(), expanded));
        const auto all = predictions(model, q.tokens, {.expanded = expanded});
        const auto [largest, wrong_argmax] =
            compare(rows_of(all, q.mtp_rows, q.vocab()), q.mtp_logits, q.vocab(), golden.tolerance);
        EXPECT_LE(largest, golden.tolerance);
        EXPECT_EQ(wrong_argmax, 0);
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 9);
}

TEST(MultiTokenPrediction, DoesNotDependOnHowASequenceIsCut) {
  const auto tokens = Golden::read(kFolder).sequences.back().tokens;
  for (const KernelTable* kernels : usable_kernels())
    for (const DType type : {DType::f32, DType::bf16}) {
      TestModel model(kFolder, *kernels, type), two_threads(kFolder, *kernels, type, 2);
      for (const int expanded : {0, 1000, 100}) {
        SCOPED_TRACE(fmt::format("{} {}, {} expanded", kernels->isa, name(type), expanded));
        const auto whole = predictions(model, tokens, {.expanded = expanded, .kv = type});
        for (const int chunk : {1, 7, 64, 65})
          EXPECT_EQ(whole, predictions(model, tokens, {chunk, expanded, type})) << "chunks of " << chunk;
        EXPECT_EQ(whole, predictions(two_threads, tokens, {70, expanded, type})) << "two threads";
      }
    }
}

TEST(MultiTokenPrediction, TheModelItselfIsTheSameWithAndWithoutTheModule) {
  const auto tokens = Golden::read(kFolder).sequences.back().tokens;
  TestModel with(kFolder, best_kernels()), without(kFolder, best_kernels(), DType::f32, 1, /*mtp=*/false);
  EXPECT_EQ(with.transformer.spec().mtp.size(), 1u);
  EXPECT_TRUE(without.transformer.spec().mtp.empty());
  const auto logits = [&](TestModel& model) {
    std::vector<float> all;
    score(model.ops, model.transformer, tokens, {.kv = DType::f32},
          [&](int, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); });
    return all;
  };
  EXPECT_EQ(logits(with), logits(without));
}

// -- The model that ships with a module

// Per token the experts of the marked layers, ascending, as tools/tiny stores them.
class ChosenExperts {
 public:
  explicit ChosenExperts(Ops& ops)
      : ops_(ops, [this](std::string_view point, const Tensor& t, std::span<const float> numbers) {
          if (!point.ends_with("moe.experts")) return;
          auto& rows = point.starts_with("mtp.") ? mtp_ : layers_[std::string(point)];
          for (auto row = numbers.begin(); row != numbers.end(); row += t.last()) {
            std::vector<int32_t> ids(row, row + t.last());
            std::sort(ids.begin(), ids.end());
            rows.push_back(ids);
          }
        }) {}
  Ops& ops() { return ops_; }

  std::vector<int32_t> of_layers() const {
    std::vector<int32_t> all;
    for (size_t token = 0; token < layers_.begin()->second.size(); ++token)
      for (const auto& [point, rows] : layers_) all.insert(all.end(), rows[token].begin(), rows[token].end());
    return all;
  }
  std::vector<int32_t> of_module() const {
    std::vector<int32_t> all;
    for (const auto& ids : mtp_) all.insert(all.end(), ids.begin(), ids.end());
    return all;
  }

 private:
  std::map<std::string, std::vector<std::vector<int32_t>>> layers_;
  std::vector<std::vector<int32_t>> mtp_;
  TraceOps ops_;
};

TEST(TinyR1, LogitsExpertsAndPredictionsAreThoseOfThePyTorchThatTrainedIt) {
  const auto golden = SafetensorsFile::parse(MappedFile(golden_root() / "tiny_r1/golden.safetensors"));
  const int sequences = std::stoi(golden.metadata().at("sequences"));
  ASSERT_EQ(golden.tensors().size(), 7u * static_cast<size_t>(sequences)) << "tensors are left unread";
  for (const KernelTable* kernels : usable_kernels()) {
    TestModel model(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/tiny-r1", *kernels);
    const auto vocab = static_cast<size_t>(model.transformer.spec().vocab);
    for (int s = 0; s < sequences; ++s) {
      SCOPED_TRACE(fmt::format("{} sequence {}", kernels->isa, s));
      const auto n = "." + std::to_string(s);
      const auto tokens = values<int32_t>(golden, "tokens" + n);
      ChosenExperts chosen(model.ops);
      const auto mtp = predictions(chosen.ops(), model.transformer, tokens, {.expanded = s % 2 ? 0 : 1000});
      EXPECT_EQ(chosen.of_layers(), values<int32_t>(golden, "experts" + n));
      EXPECT_EQ(chosen.of_module(), values<int32_t>(golden, "mtp_experts" + n));
      const auto mtp_rows = rows_of(mtp, values<int32_t>(golden, "mtp_rows" + n), vocab);
      EXPECT_LE(compare(mtp_rows, values<float>(golden, "mtp_logits" + n), vocab, 1e-4).largest, 1e-4);

      std::vector<float> logits;
      score(model.ops, model.transformer, tokens, {.kv = DType::f32},
            [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
      const auto rows = rows_of(logits, values<int32_t>(golden, "rows" + n), vocab);
      EXPECT_LE(compare(rows, values<float>(golden, "logits" + n), vocab, 1e-4).largest, 1e-4);
    }
  }
}

// Greedy replies with drafts are the golden's, and as many drafts are accepted as in the training's own measurement.
TEST(TinyR1, DraftsAreAcceptedAsOftenAsPyTorchMeasured) {
  const auto golden = SafetensorsFile::parse(MappedFile(golden_root() / "tiny_r1/golden.safetensors"));
  const auto prompt_lengths = nlohmann::json::parse(golden.metadata().at("prompt_lengths"));
  const auto measured = nlohmann::json::parse(golden.metadata().at("drafts"));
  TestModel model(std::filesystem::path(CACHALOT_SOURCE_DIR) / "models/tiny-r1", best_kernels());
  int drafted = 0, accepted = 0;
  for (size_t s = 0; s < prompt_lengths.size(); ++s) {
    const auto tokens = values<int32_t>(golden, "tokens." + std::to_string(s));
    const auto reply = tokens.begin() + prompt_lengths[s].get<int>();
    Engine engine(model.ops, model.transformer,
                  {.context = 512, .cache_tokens = 512, .kv = DType::f32, .speculation = Speculation::mtp});
    engine.submit({.prompt = {tokens.begin(), reply},
                   .sampling = {.temperature = 0},
                   .max_tokens = static_cast<int>(tokens.end() - reply)});
    std::vector<int32_t> answer;
    while (!engine.idle())
      for (const Event& event : engine.step()) {
        if (event.token) answer.push_back(*event.token);
        drafted += event.drafted;
        accepted += event.accepted;
      }
    EXPECT_EQ(answer, std::vector<int32_t>(reply, tokens.end()));
  }
  const double ours = static_cast<double>(accepted) / drafted,
               theirs = measured.at("accepted").get<double>() / measured.at("drafted").get<double>();
  EXPECT_NEAR(ours, theirs, 0.02) << accepted << " of " << drafted;
}

}  // namespace cachalot::testing
