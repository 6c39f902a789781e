// The memory plan counts what the engine makes: windows and logits of all sequences that may run, and of no more.
#include <gtest/gtest.h>

#include "engine/scoring.h"
#include "load/loaded_model.h"
#include "support/goldens.h"

namespace cachalot::testing {

static const std::filesystem::path kWindows = golden_root() / "qwen2/window",
                                   kModule = golden_root() / "deepseek_v3/mtp";

static LoadedModel load(const std::filesystem::path& path, LoadOptions options) {
  options.text = false;
  options.progress = false;
  return LoadedModel::load(path, options, std::make_unique<CpuOps>(best_kernels(), 1));
}

TEST(MemoryPlan, CountsTheCacheThatTheEngineMakes) {
  for (const auto& path : {kWindows, kModule})
    for (const int sequences : {1, 2, 64})
      for (const int cache_tokens : {0, 1000, 20000}) {
        SCOPED_TRACE(path.string() + ", " + std::to_string(sequences) + ", " + std::to_string(cache_tokens));
        const LoadedModel model = load(path, {.context = 400,
                                              .cache_tokens = cache_tokens,
                                              .scheduler = {.max_rows = 128, .max_sequences = sequences}});
        const EngineOptions options = model.engine_options();
        EXPECT_EQ(options.scheduler.max_sequences, sequences);
        EXPECT_EQ(options.scheduler.max_rows, 128);
        const Engine engine(*model.ops, *model.transformer, options);
        int64_t bytes = 0;
        for (const auto& layer : cache_layout(model.transformer->spec()).layers)
          bytes += engine.cache().pool(layer.group).blocks() * model.ops->cache_block_bytes(layer, model.kv);
        EXPECT_EQ(model.plan.cache_bytes, bytes);
      }
}

TEST(MemoryPlan, EachSequenceThatMayRunHasStatesOfItsOwnAndSnapshotsHaveToo) {
  const CpuOps ops(best_kernels(), 1);
  CacheLayout layout = {
      .layers = {{.kv_heads = 2, .key_dim = 8, .value_dim = 8}}, .of_layer = {0}, .group_windows = {0}};
  int snapshots = 0;
  const auto bytes = [&] {
    return cache_bytes(ops, layout, 100, {.max_rows = 8, .max_sequences = 3, .state_snapshots = snapshots},
                       DType::f32);
  };
  const int64_t without = bytes();
  layout.states = {{.state_numbers = 6, .tail_numbers = 2}, {.state_numbers = 5, .tail_numbers = 0}};
  EXPECT_EQ(bytes() - without, 3 * (2 * (6 + 5) + 128 * 2) * 4);
  snapshots = 4;
  EXPECT_EQ(bytes() - without, 7 * (2 * (6 + 5) + 128 * 2) * 4);
}

TEST(MemoryPlan, OneSequenceDoesNotPayForTheWindowsOfMany) {
  const auto bytes = [](int sequences) {
    return load(kWindows, {.context = 20000, .scheduler = {.max_rows = 128, .max_sequences = sequences}})
        .plan.cache_bytes;
  };
  EXPECT_LT(bytes(1), bytes(8));
  EXPECT_EQ(bytes(1),
            load(kWindows, {.context = 20000, .scheduler = {.max_rows = 128, .max_sequences = 1}, .scores = true})
                .plan.cache_bytes);
  EXPECT_LT(bytes(8), bytes(32));
}

TEST(MemoryPlan, ARoomyCacheHoldsAllThatMayRunOrHalfOfWhatIsLeft) {
  const auto plan = [](int sequences) {
    return load(golden_root() / "llama/plain",
                {.context = 640, .roomy_cache = true, .scheduler = {.max_rows = 128, .max_sequences = sequences}})
        .plan;
  };
  EXPECT_EQ(plan(1).cache_tokens, 8 * 640);
  EXPECT_EQ(plan(9).cache_tokens, 9 * 640);
  const MemoryPlan most = plan(1 << 24);
  const int64_t left = most.available_bytes - most.weight_bytes - most.activation_bytes;
  EXPECT_LE(most.cache_bytes, left / 2);
  EXPECT_GE(most.cache_bytes, left / 2 - left / 8)
      << "available memory changes while this is planned, but not so much";
  EXPECT_EQ(load(kWindows, {.context = 640, .cache_tokens = 2000, .roomy_cache = true}).plan.cache_tokens, 2000);
}

TEST(MemoryPlan, CountsTheLogitsOfAllRowsOfAStepThatAskForThem) {
  const auto rows = [](const std::filesystem::path& path, LoadOptions options) {
    options.context = 400;
    const int64_t none = [&] {  // without logits: as of rows that ask for none
      LoadOptions one = options;
      one.scheduler.max_sequences = 1, one.speculation = Speculation::off, one.scores = false;
      one.prompt_logprobs = false;
      const LoadedModel model = load(path, one);
      return model.plan.activation_bytes - 4 * int64_t{model.transformer->spec().vocab};
    }();
    const LoadedModel model = load(path, options);
    return (model.plan.activation_bytes - none) / (4 * int64_t{model.transformer->spec().vocab});
  };
  const SchedulerOptions one{.max_rows = 128, .max_sequences = 1}, ten{.max_rows = 128, .max_sequences = 10},
      many{.max_rows = 128, .max_sequences = 1000};
  EXPECT_EQ(rows(kWindows, {.scheduler = one}), 1);
  EXPECT_EQ(rows(kWindows, {.scheduler = ten}), 10);
  EXPECT_EQ(rows(kWindows, {.scheduler = many}), 128);
  EXPECT_EQ(rows(kWindows, {.scheduler = one, .speculation = Speculation::lookup}), 1 + 4);
  EXPECT_EQ(rows(kWindows, {.scheduler = ten, .speculation = Speculation::lookup}), 10 * (1 + 4));
  EXPECT_EQ(rows(kWindows, {.scheduler = one, .scores = true}), 128);
  EXPECT_GE(rows(kWindows, {.scheduler = one, .prompt_logprobs = true}), 128) << "of all rows, where they are few";
  const auto with_module = [&](const SchedulerOptions& scheduler) {
    return load(kModule, {.context = 400, .scheduler = scheduler, .speculation = Speculation::mtp})
        .plan.activation_bytes;
  };
  const Config config = Config::read(kModule / "config.json");
  const int64_t vocab = family_of(config).spec(config).vocab;
  EXPECT_EQ(with_module(ten) - with_module(one), 9 * 3 * 4 * vocab) << "the draft's row and the module's own";
}

}  // namespace cachalot::testing
