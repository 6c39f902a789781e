// GGUF files by the public gguf package beside the same weights by transformers: the same configuration, and the same
// numbers in the model's order of rows.
#include <gmock/gmock.h>

#include "model/row_order.h"
#include "model/weights.h"
#include "support/goldens.h"

namespace cachalot::testing {
namespace {

const std::vector<std::pair<const char*, const char*>> kPairs = {
    {"gguf/qwen2-plain.gguf", "qwen2/plain"},     {"gguf/qwen3-plain.gguf", "qwen3/plain"},
    {"gguf/qwen3-yarn.gguf", "qwen3/yarn"},       {"gguf/qwen3-yarn-split-00001-of-00003.gguf", "qwen3/yarn"},
    {"gguf/llama-plain.gguf", "llama/plain"},     {"gguf/llama-llama3.gguf", "llama/llama3"},
    {"gguf/llama-linear-v2.gguf", "llama/linear"}};

// Every parameter of a checkpoint as numbers in the model's order.
std::vector<std::vector<float>> parameters(const Checkpoint& checkpoint) {
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  std::vector<std::vector<float>> all;
  for (const BoundTensor& bound : bind_tensors(family, family.spec(config), checkpoint, {})) {
    auto& values = all.emplace_back();
    for (const MatrixPart& part : bound.parts) {
      const StoredTensor tensor =
          bound.interleaved_heads > 0 ? in_model_order(part.stored, bound.interleaved_heads) : part.stored;
      values.resize(values.size() + static_cast<size_t>(tensor.elements()));
      tensor.read_rows(0, tensor.rows(), values.data() + values.size() - tensor.elements());
    }
  }
  return all;
}

TEST(GgufGoldens, HoldTheWeightsOfTheirSafetensorsTwinsBitForBit) {
  for (const auto& [gguf_path, hf_path] : kPairs) {
    SCOPED_TRACE(gguf_path);
    EXPECT_EQ(parameters(Checkpoint::open(golden_root() / gguf_path)),
              parameters(Checkpoint::open(golden_root() / hf_path)));
  }
}

TEST(GgufGoldens, HaveTheConfigurationOfTheirSafetensorsTwins) {
  for (const auto& [gguf_path, hf_path] : kPairs) {
    SCOPED_TRACE(gguf_path);
    const Config gguf = model_config(Checkpoint::open(golden_root() / gguf_path)),
                 hf = model_config(Checkpoint::open(golden_root() / hf_path));
    EXPECT_EQ(gguf.texts("architectures"), hf.texts("architectures"));
    EXPECT_EQ(gguf.text("model_type"), hf.text("model_type"));
    for (const auto* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                            "intermediate_size", "max_position_embeddings", "vocab_size"})
      EXPECT_EQ(gguf.integer(key), hf.integer(key)) << key;
    const int heads = hf.integer("num_attention_heads");
    EXPECT_EQ(gguf.integer("head_dim"), hf.integer_or("head_dim", hf.integer("hidden_size") / heads));
    EXPECT_EQ(gguf.number("rms_norm_eps"), hf.number("rms_norm_eps"));
    EXPECT_EQ(gguf.boolean_or("tie_word_embeddings", false), hf.boolean_or("tie_word_embeddings", false));
    const auto rope = hf.object("rope_parameters") ? hf.object("rope_parameters") : hf.object("rope_scaling");
    EXPECT_EQ(gguf.number("rope_theta"), hf.has("rope_theta") ? hf.number("rope_theta") : rope->number("rope_theta"));
    const std::string type = rope ? rope->text_or("rope_type", rope->text_or("type", "default")) : "default";
    const auto scaling = gguf.object("rope_scaling");
    if (type == "default") {
      EXPECT_FALSE(scaling);
    } else if (type == "llama3") {
      EXPECT_EQ(scaling->text("rope_type"), "divisors");
      EXPECT_EQ(scaling->numbers("divisors").size(), static_cast<size_t>(gguf.integer("head_dim") / 2));
    } else {
      EXPECT_EQ(scaling->text("rope_type"), type);
      EXPECT_EQ(scaling->number("factor"), rope->number("factor"));
      if (type == "yarn") {
        const auto* key = "original_max_position_embeddings";
        EXPECT_EQ(scaling->integer(key), rope->integer(key));
      }
    }
  }
}

TEST(GgufGoldens, FilesThatNameNoPreTokeniserHaveTheUsualOneOfTheirArchitecture) {
  for (const auto& [architecture, usual] :
       {std::pair("qwen2moe", "qwen2"), std::pair("qwen", "qwen2"), std::pair("llama", "llama-bpe"),
        std::pair("deepseek2", "deepseek-llm"), std::pair("gemma3", "gpt-2"), std::pair("", "gpt-2")})
    EXPECT_EQ(usual_pre_tokenizer(architecture), usual) << architecture;
}

}  // namespace
}  // namespace cachalot::testing
