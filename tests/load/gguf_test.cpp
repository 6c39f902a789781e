// GGUF files made by the public gguf package: the same weights give the same logits as safetensors, bit for bit.
#include <gmock/gmock.h>

#include <cmath>

#include "engine/scoring.h"
#include "formats/made_files.h"
#include "load/loaded_model.h"
#include "support/goldens.h"
#include "text/unicode.h"

namespace cachalot::testing {

static std::vector<float> all_logits(const std::filesystem::path& path, const std::vector<int32_t>& tokens) {
  TestModel model(path, best_kernels());
  std::vector<float> logits;
  score(model.ops, model.transformer, tokens, {.kv = DType::f32},
        [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

static std::vector<int32_t> golden_tokens(const std::filesystem::path& folder) {
  return values<int32_t>(SafetensorsFile::parse(MappedFile(folder / "golden.safetensors")), "tokens.0");
}

struct Pair {
  const char* file;
  const char* golden;
};

class SameWeights : public ::testing::TestWithParam<Pair> {};

TEST_P(SameWeights, GiveTheLogitsOfTheSafetensorsBitForBit) {
  const auto folder = golden_root() / GetParam().golden;
  const auto tokens = golden_tokens(folder);
  EXPECT_EQ(all_logits(golden_root() / "gguf" / GetParam().file, tokens), all_logits(folder, tokens));
}

INSTANTIATE_TEST_SUITE_P(
    Gguf, SameWeights,
    ::testing::Values(
        Pair{"qwen2-plain.gguf", "qwen2/plain"}, Pair{"qwen-plain.gguf", "qwen/plain"},
        Pair{"qwen-neither.gguf", "qwen/neither"}, Pair{"qwen3-plain.gguf", "qwen3/plain"},
        Pair{"qwen3-yarn.gguf", "qwen3/yarn"}, Pair{"qwen3-yarn-split-00001-of-00003.gguf", "qwen3/yarn"},
        Pair{"llama-plain.gguf", "llama/plain"}, Pair{"llama-linear-v2.gguf", "llama/linear"},
        Pair{"qwen2_moe-plain.gguf", "qwen2_moe/plain"}, Pair{"qwen3_moe-plain.gguf", "qwen3_moe/plain"},
        Pair{"deepseek_v2-plain.gguf", "deepseek_v2/plain"}, Pair{"deepseek_v3-plain.gguf", "deepseek_v3/plain"},
        Pair{"deepseek_v3-ungrouped.gguf", "deepseek_v3/ungrouped"}),
    [](const auto& info) {
      std::string name = info.param.file;
      std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
      return name;
    });

TEST(Gguf, StoredLlama3DivisorsAgreeWithTheFormulaToRounding) {
  const auto folder = golden_root() / "llama/llama3";
  const auto tokens = golden_tokens(folder);
  const auto got = all_logits(golden_root() / "gguf/llama-llama3.gguf", tokens), want = all_logits(folder, tokens);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
}

TEST(Gguf, AModelOfEveryQuantizedTypeAgreesWithTransformersOnItsDequantizedWeights) {
  const auto golden = SafetensorsFile::parse(MappedFile(golden_root() / "gguf/quants.safetensors"));
  const auto got = all_logits(golden_root() / "gguf/quants.gguf", values<int32_t>(golden, "tokens.0"));
  const auto want = values<float>(golden, "logits.0");
  const auto rows = values<int32_t>(golden, "rows.0");
  const size_t vocab = want.size() / rows.size();
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t i = 0; i < vocab; ++i)
      ASSERT_NEAR(got[static_cast<size_t>(rows[r]) * vocab + i], want[r * vocab + i], 1e-4) << "row " << rows[r];
}

// Eos is <|im_end|> there; <|endoftext|> (280) is known by its text.
TEST(Gguf, AnswersEndAtTokensThatTheFileNamesAndAtThoseKnownByTheirText) {
  const auto checkpoint = Checkpoint::open(golden_root() / "gguf/qwen2-plain.gguf");
  const TextModel text = TextModel::read(checkpoint);
  EXPECT_EQ(GenerationDefaults::read(checkpoint, text.tokenizer).end_tokens, (std::vector<int32_t>{282, 280}));
}

TEST(Gguf, AFileThatNamesNoPreTokeniserHasTheUsualOneOfItsFamily) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(letters_of_bytes(std::string(1, static_cast<char>(byte))));
  tokens.emplace_back("ab");
  for (const auto& [architecture, usual] : {std::pair("llama", "'llama-bpe'"), {"qwen3moe", "'qwen2'"}}) {
    GgufMaker maker;
    maker.text("general.architecture", architecture).text("tokenizer.ggml.model", "gpt2");
    maker.array("tokenizer.ggml.tokens", STRING, tokens);
    maker.array("tokenizer.ggml.merges", STRING, std::vector<std::string>{"a b"});
    const TemporaryFolder folder;
    const Checkpoint checkpoint = Checkpoint::open(folder.write("m.gguf", maker.build()));
    ::testing::internal::CaptureStderr();
    TextModel::read(checkpoint);
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr(usual)) << architecture;
  }
}

}  // namespace cachalot::testing
