// What a q8_0 cache costs a whole model: perplexity beside that with an f32 cache.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/scoring.h"
#include "formats/made_files.h"
#include "load/loaded_model.h"
#include "support/goldens.h"
#include "tensor/quant_blocks.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;

double perplexity(const fs::path& path, const std::vector<int32_t>& tokens, DType kv) {
  TestModel model(path, best_kernels());
  double nll = 0;
  score(model.ops, model.transformer, tokens, {.kv = kv}, [&](int row, std::span<const float> logits) {
    if (static_cast<size_t>(row) + 1 == tokens.size()) return;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    nll += std::log(sum) - logits[static_cast<size_t>(tokens[static_cast<size_t>(row) + 1])];
  });
  return std::exp(nll / static_cast<double>(tokens.size() - 1));
}

// The most likely continuations of a model, so that its perplexity is worth something.
std::vector<int32_t> likely_tokens(const fs::path& path, std::vector<int32_t> tokens) {
  TestModel model(path, best_kernels());
  std::vector<int32_t> likely = {tokens[0]};
  score(model.ops, model.transformer, tokens, {.kv = DType::f32}, [&](int, std::span<const float> logits) {
    likely.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  });
  return likely;
}

// A copy of the checkpoint whose key biases have, in each head and layer, a few components of ±size.
void copy_with_large_key_biases(const fs::path& from, const fs::path& to, int head_dim, float size) {
  fs::copy(from / "config.json", to / "config.json");
  const auto file = SafetensorsFile::parse(MappedFile(from / "model.safetensors"));
  std::string bytes;
  {
    std::ifstream in(from / "model.safetensors", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  int changed = 0;
  for (int layer = 0;; ++layer) {
    const auto* bias = file.find("model.layers." + std::to_string(layer) + ".self_attn.k_proj.bias");
    if (bias == nullptr) break;
    const auto at = bytes.find(std::string(reinterpret_cast<const char*>(bias->bytes.data()), bias->bytes.size()));
    ASSERT_NE(at, std::string::npos);
    ASSERT_EQ(bias->dtype, DType::bf16);
    for (size_t i = 0; i < bias->bytes.size() / 2; ++i)
      if (static_cast<int>(i) % head_dim % 13 == 4) {
        const uint16_t spike = f32_to_bf16(i % 4 == 0 ? size : -size);
        std::memcpy(&bytes[at + 2 * i], &spike, 2);
        ++changed;
      }
  }
  ASSERT_GT(changed, 0);
  std::ofstream(to / "model.safetensors", std::ios::binary) << bytes;
}

TEST(CodedCache, ChangesThePerplexityOfTheShippedModelsByLessThanOnePercent) {
  for (const char* name : {"tiny-qwen", "tiny-r1"}) {
    SCOPED_TRACE(name);
    const fs::path path = fs::path(CACHALOT_SOURCE_DIR) / "models" / name;
    const auto tokens = TextModel::read(Checkpoint::open(path))
                            .tokenizer.encode(
                                "<|im_start|>user\nWhat is 12 * 7?<|im_end|>\n<|im_start|>assistant\n"
                                "<think>\n12*07\n2*7=14+0=14\n1*7=07+1=08\n2*0=00+0=00\n1*0=00+0=00\n"
                                "0084+0000\n4+0+0=04\n8+0+0=08\n0+0+0=00\n0+0+0=00\n0084\n</think>\n\n84");
    const double exact = perplexity(path, tokens, DType::f32);
    EXPECT_NEAR(perplexity(path, tokens, DType::q8_0) / exact, 1, 0.01);
  }
}

TEST(CodedCache, ChangesThePerplexityOfAModelWithLargeKeyBiasesByLessThanOnePercent) {
  const fs::path golden = golden_root() / "qwen2/long_linear";  // heads of 64, as small as Qwen2 has them
  for (const float size : {20.0f, 60.0f, 150.0f}) {
    SCOPED_TRACE(size);
    const TemporaryFolder made;
    copy_with_large_key_biases(golden, made.path(), 64, size);
    auto tokens = Golden::read(golden).sequences.back().tokens;
    tokens.resize(std::min<size_t>(tokens.size(), 1500));
    tokens = likely_tokens(made.path(), tokens);
    const double exact = perplexity(made.path(), tokens, DType::f32);
    EXPECT_NEAR(perplexity(made.path(), tokens, DType::q8_0) / exact, 1, 0.01);
  }
}

}  // namespace
}  // namespace cachalot::testing
