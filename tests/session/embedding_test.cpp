// Published embedding checkpoints give the vectors that sentence-transformers gives with them: their tokens, their
// pooling, their length (tools/goldens/embeddings.py); so does a GGUF file that is made of them.
#include "session/embedding.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "convert/quantize.h"
#include "engine/scoring.h"
#include "formats/made_files.h"
#include "load/loaded_model.h"
#include "ops/cpu/cpu_ops.h"
#include "support/goldens.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

const fs::path kFolder = golden_root() / "embeddings";
const char* const kCases[] = {"qwen3_last", "qwen2_mean", "llama_cls"};  // each with its 1_Pooling

LoadedModel load(const fs::path& path) {
  return LoadedModel::load(path, {.weights = {.fixed = DType::f32}, .progress = false},
                           std::make_unique<CpuOps>(best_kernels(), 1));
}

std::vector<float> embedding(const LoadedModel& model, const std::vector<int>& tokens) {
  Engine engine(*model.ops, *model.transformer, model.engine_options());
  engine.submit({.prompt = tokens, .embedding = model.embedding.pooling});
  std::vector<float> pooled;
  while (!engine.idle())
    for (Event& event : engine.step()) {
      EXPECT_EQ(event.error, "");
      pooled = std::move(event.embedding);
    }
  return told_embedding(std::move(pooled), {}, model.embedding.normalized);
}

void expect_golden(const LoadedModel& model, const std::string& name) {
  const json golden = json::parse(std::ifstream(kFolder / name / "embeddings.json"));
  for (const json& text : golden["texts"]) {
    const auto ids = model.text->tokenizer.encode_with_bos(text["text"].get<std::string>());
    EXPECT_EQ(ids, text["ids"].get<std::vector<int>>()) << text["text"];
    const auto want = text["embedding"].get<std::vector<float>>(), got = embedding(model, ids);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5) << text["text"];
  }
  EXPECT_GE(golden["texts"].size(), 5u);
}

TEST(EmbeddingCheckpoints, GiveTheVectorsOfSentenceTransformers) {
  for (const std::string name : kCases) {
    SCOPED_TRACE(name);
    const LoadedModel model = load(kFolder / name);
    EXPECT_FALSE(model.embedding.refusal);
    EXPECT_THAT(model.embedding.said_by, HasSubstr("1_Pooling/config.json"));
    expect_golden(model, name);
  }
}

TEST(EmbeddingCheckpoints, GiveThemAsGgufToo) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "embeddings.gguf";
  for (const std::string name : kCases) {
    SCOPED_TRACE(name);
    if (name == "qwen2_mean") continue;  // GGUF cannot say that its vectors have no particular length
    quantize_checkpoint(Checkpoint::open(kFolder / name), file,
                        {.recipe = recipe_named("f32"), .existing = WholeFile::Existing::replace});
    const LoadedModel model = load(file);
    EXPECT_THAT(model.embedding.said_by, HasSubstr(".pooling_type"));
    expect_golden(model, name);
  }
}

TEST(EmbeddingCheckpoints, WithoutAHeadWriteNoText) {
  const LoadedModel model = load(kFolder / "qwen2_mean");
  EXPECT_TRUE(model.transformer->spec().headless);
  Engine engine(*model.ops, *model.transformer, model.engine_options());
  const auto refused = [](const auto& work) -> std::string {
    try {
      work();
    } catch (const Error& error) { return error.what(); }
    return "no error";
  };
  EXPECT_THAT(refused([&] { engine.submit({.prompt = {1, 2}}); }), HasSubstr("no output head"));
  EXPECT_THAT(refused([&] { score(*model.ops, *model.transformer, std::vector<int>{1, 2}, {}, {}); }),
              HasSubstr("no output head"));
  EXPECT_FALSE(load(kFolder / "qwen3_last").transformer->spec().headless) << "its embedding is its head";
}

TEST(ToldEmbedding, IsCutAndThenOfLengthOne) {
  using ::testing::ElementsAre;
  EXPECT_THAT(told_embedding({3, 4, 12}, {}, false), ElementsAre(3, 4, 12));
  EXPECT_THAT(told_embedding({3, 4, 12}, 2, false), ElementsAre(3, 4));
  EXPECT_THAT(told_embedding({3, 4, 12}, 2, true), ElementsAre(0.6F, 0.8F));
  EXPECT_THAT(told_embedding({3, 4, 12}, {}, true), ElementsAre(3.F / 13, 4.F / 13, 12.F / 13));
  EXPECT_THAT(told_embedding({0, 0}, {}, true), ElementsAre(0, 0));
  EXPECT_THAT(told_embedding({std::ldexp(3.F, 100), std::ldexp(4.F, 100)}, {}, true), ElementsAre(0.6F, 0.8F))
      << "no square overflows";
}

}  // namespace
}  // namespace cachalot::testing
