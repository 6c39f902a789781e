// Checkpoints written as GGUF: the same numbers give the same logits bit for bit, fewer bits move them by little.
#include "convert/quantize.h"

#include <gmock/gmock.h>

#include <cmath>

#include "convert/importance_ops.h"
#include "engine/loaded_model.h"
#include "engine/scoring.h"
#include "formats/gguf.h"
#include "formats/made_files.h"
#include "support/goldens.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path shipped(const char* name) { return fs::path(CACHALOT_SOURCE_DIR) / "models" / name; }

std::vector<float> logits_of(const fs::path& path, const std::vector<int32_t>& tokens) {
  TestModel model(path, best_kernels());
  std::vector<float> logits;
  score(model.ops, model.transformer, tokens, {.kv = DType::f32},
        [&](int, std::span<const float> row) { logits.insert(logits.end(), row.begin(), row.end()); });
  return logits;
}

std::vector<QuantizedKind> write(const fs::path& from, const fs::path& to, const char* type, int threads = 1,
                                 const Importance* importance = nullptr) {
  return quantize_checkpoint(Checkpoint::open(from), to,
                             {.recipe = recipe_named(type), .threads = threads, .importance = importance});
}

std::string bytes_of(const fs::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Mean over rows of the divergence of softmax(b) from softmax(a), in nats.
double divergence(const std::vector<float>& a, const std::vector<float>& b, size_t vocab) {
  double total = 0;
  for (size_t row = 0; row < a.size(); row += vocab) {
    double sum_a = 0, sum_b = 0;
    for (size_t i = row; i < row + vocab; ++i) sum_a += std::exp(a[i]), sum_b += std::exp(b[i]);
    for (size_t i = row; i < row + vocab; ++i)
      total += std::exp(a[i]) / sum_a * (a[i] - std::log(sum_a) - b[i] + std::log(sum_b));
  }
  return total / static_cast<double>(a.size() / vocab);
}

// What the shipped models were trained to read and write.
constexpr const char* kText =
    "<|im_start|>user\nWhat is 47 + 86?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    "047+086\n7+6+0=13\n4+8+1=13\n0+0+1=01\n0133\n</think>\n\n133<|im_end|>\n"
    "<|im_start|>user\nWhat is 12 * 7?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    "12*07\n2*7=14+0=14\n1*7=07+1=08\n2*0=00+0=00\n1*0=00+0=00\n0084+0000\n4+0+0=04\n8+0+0=08\n";

std::vector<int32_t> tokens_of(const fs::path& model) {
  return TextModel::read(Checkpoint::open(model)).tokenizer.encode(kText, /*special=*/true);
}

class SameNumbers : public ::testing::TestWithParam<const char*> {};

TEST_P(SameNumbers, WrittenAsGgufGiveTheSameLogitsBitForBit) {
  const fs::path folder = golden_root() / GetParam();
  const auto tokens = Golden::read(folder).sequences[0].tokens;
  const TemporaryFolder made;
  write(folder, made.path() / "a.gguf", "f32");
  EXPECT_EQ(logits_of(made.path() / "a.gguf", tokens), logits_of(folder, tokens));
  // And from there once more: GGUF to GGUF.
  write(made.path() / "a.gguf", made.path() / "b.gguf", "f32");
  EXPECT_EQ(bytes_of(made.path() / "a.gguf").size(), bytes_of(made.path() / "b.gguf").size());
  EXPECT_EQ(logits_of(made.path() / "b.gguf", tokens), logits_of(folder, tokens));
}

INSTANTIATE_TEST_SUITE_P(Export, SameNumbers,
                         ::testing::Values("qwen2/plain", "qwen2/window", "qwen3/plain", "qwen3/yarn", "llama/plain",
                                           "llama/linear", "qwen2_moe/plain", "qwen2_moe/fused", "qwen3_moe/plain",
                                           "qwen3_moe/fused", "deepseek_v2/plain", "deepseek_v3/plain",
                                           "deepseek_v3/ungrouped", "deepseek_v3/fp8", "saved/untied_after_all",
                                           "saved/head_alone", "saved/copied_head", "saved/llama_bare_names",
                                           "saved/qwen3_base", "saved/qwen3_moe_again", "saved/yarn_beside",
                                           "saved/empty_scaling", "saved/qwen3_moe_windows"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });
// GGUF keeps llama3's scaling as divisors and YaRN's factor as a multiple of the usual one, both in f32.
TEST(Export, StoresSomeScalingsRounded) {
  for (const char* golden : {"llama/llama3", "qwen3/yarn_factor"}) {
    SCOPED_TRACE(golden);
    const fs::path folder = golden_root() / golden;
    const auto tokens = Golden::read(folder).sequences[0].tokens;
    const TemporaryFolder made;
    write(folder, made.path() / "a.gguf", "f32");
    const auto got = logits_of(made.path() / "a.gguf", tokens), want = logits_of(folder, tokens);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
  }
}

struct Refusal {
  const char* golden;
  const char* says;
};

TEST(Export, RefusesByNameWhatGgufCannotSay) {
  const TemporaryFolder made;
  for (const auto& [golden, says] : std::vector<Refusal>{{"qwen/plain", "models of class 'QWenLMHeadModel'"},
                                                         {"qwen2/dynamic", "a RoPE that changes with the length"},
                                                         {"saved/longrope", "a RoPE that changes with the length"},
                                                         {"saved/linear_mscale", "a softmax scale of its own"},
                                                         {"qwen3_moe/mlp_only", "a dense layer"}}) {
    SCOPED_TRACE(golden);
    EXPECT_THAT(message_of([&] { write(golden_root() / golden, made.path() / "a.gguf", "f32"); }), HasSubstr(says));
  }
  EXPECT_TRUE(fs::is_empty(made.path()));
}

TEST(Quantize, FewerBitsMoveTheShippedModelsByLittleAndMoreBitsByLess) {
  const TemporaryFolder made;
  for (const char* model : {"tiny-qwen", "tiny-r1"}) {
    SCOPED_TRACE(model);
    const auto tokens = tokens_of(shipped(model));
    const auto want = logits_of(shipped(model), tokens);
    double before = 0;
    for (const char* type : {"q8_0", "q4_k_m", "q2_k"}) {
      const fs::path file = made.path() / (std::string(model) + type);
      write(shipped(model), file, type);
      const double now = divergence(want, logits_of(file, tokens), 512);
      EXPECT_GT(now, before) << type;
      before = now;
      if (type == std::string("q8_0")) { EXPECT_LT(now, 1e-3); }
    }
    EXPECT_LT(before, 1.0);
  }
}

TEST(Quantize, TheFileIsTheSameOnAnyNumberOfThreads) {
  const TemporaryFolder made;
  write(shipped("tiny-r1"), made.path() / "one", "q4_k_m", 1);
  write(shipped("tiny-r1"), made.path() / "three", "q4_k_m", 3);
  EXPECT_EQ(bytes_of(made.path() / "one"), bytes_of(made.path() / "three"));
}

TEST(Quantize, TheFilesTokenizerTemplateAndEndsAreTheCheckpoints) {
  const TemporaryFolder made;
  write(shipped("tiny-r1"), made.path() / "a.gguf", "q8_0");
  const Checkpoint from = Checkpoint::open(shipped("tiny-r1")), to = Checkpoint::open(made.path() / "a.gguf");
  const TextModel want = TextModel::read(from), got = TextModel::read(to);
  const std::string text = "What is 47 + 86?\n<think>4 + 8 = 12</think> 中文 <|im_end|>";
  for (const bool special : {false, true})
    EXPECT_EQ(got.tokenizer.encode(text, special), want.tokenizer.encode(text, special));
  EXPECT_EQ(to.gguf()->text("tokenizer.chat_template").empty(), !want.chat_template.has_value());
  EXPECT_EQ(GenerationDefaults::read(to, got.tokenizer).end_tokens,
            GenerationDefaults::read(from, want.tokenizer).end_tokens);
  EXPECT_EQ(to.gguf()->integer("general.file_type"), 7);
}

TEST(Quantize, KeepsAnExistingFileAndLeavesNothingBehind) {
  const TemporaryFolder made;
  const fs::path file = made.write("a.gguf", "precious");
  EXPECT_THAT(message_of([&] { write(shipped("tiny-qwen"), file, "q8_0"); }), HasSubstr("exists already"));
  EXPECT_EQ(bytes_of(file), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(made.path()), {}), 1);
}

TEST(Quantize, RefusesNumbersThatAreNone) {
  const TemporaryFolder made;
  GgufMaker maker;
  maker.text("general.architecture", "unheard-of");
  maker.f32_tensor("blk.0.attn_q.weight", {32, 2}, std::vector<float>(64, NAN));
  const fs::path broken = made.write("broken.gguf", maker.build());
  EXPECT_THAT(message_of([&] { write(broken, made.path() / "a.gguf", "q8_0"); }), HasSubstr("not finite"));
  maker.tensors.clear();
  maker.f32_tensor("blk.0.attn_q.weight", {32, 2}, std::vector<float>(64, 1e6f));
  const fs::path large = made.write("large.gguf", maker.build());
  EXPECT_THAT(message_of([&] { write(large, made.path() / "a.gguf", "f16"); }), HasSubstr("f16 cannot"));
  EXPECT_FALSE(fs::exists(made.path() / "a.gguf"));
  EXPECT_FALSE(fs::exists(made.path() / "a.gguf.partial"));
}

Importance learned_from(const fs::path& path, const std::vector<int32_t>& tokens) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const Family& family = family_of(checkpoint.config());
  ModelSpec spec = family.spec(checkpoint.config());
  keep_stored(family, checkpoint, spec);
  spec.mtp.clear();
  CpuOps cpu(best_kernels(), 1);
  ImportanceOps ops(cpu);
  const Transformer model(
      spec, load_weights(family, spec, checkpoint, {.fixed = DType::f32}, ops, [](int64_t, int64_t) {}));
  score(ops, model, tokens, {.kv = DType::f32}, [](int, std::span<const float>) {});
  return ops.importance();
}

TEST(Importance, IsTheMeanSquareOfWhatAMatrixIsMultipliedWith) {
  const fs::path folder = golden_root() / "qwen3/plain";
  const auto tokens = Golden::read(folder).sequences[0].tokens;
  const Importance importance = learned_from(folder, tokens);
  // The marked point "attn.heads" of a trace is what the output projection is multiplied with.
  TestModel model(folder, best_kernels());
  std::vector<double> squares;
  TraceOps trace(model.ops, [&](std::string_view point, const Tensor& x) {
    if (point != "layer.1.attn.heads") return;
    squares.assign(static_cast<size_t>(x.dim(1) * x.dim(2)), 0);
    for (int64_t r = 0; r < x.rows(); ++r)  // rows of [T, H, K] are heads
      for (int64_t i = 0; i < x.last(); ++i)
        squares[static_cast<size_t>(r % x.dim(1) * x.last() + i)] += std::pow(x.row(r)[i], 2);
  });
  score(trace, model.transformer, tokens, {.kv = DType::f32}, [](int, std::span<const float>) {});
  const auto& got = importance.at("model.layers.1.self_attn.o_proj.weight");
  ASSERT_EQ(got.size(), squares.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], squares[i] / static_cast<double>(tokens.size()), 1e-4 * got[i] + 1e-9);
}

TEST(Importance, IsKnownPerExpertHoweverTheCheckpointStoresThem) {
  const fs::path one_by_one = golden_root() / "qwen3_moe/plain";
  const auto tokens = Golden::read(one_by_one).sequences[0].tokens;
  const TemporaryFolder made;
  write(one_by_one, made.path() / "stacked.gguf", "f32");
  const Importance parts = learned_from(one_by_one, tokens),
                   stack = learned_from(made.path() / "stacked.gguf", tokens);
  const auto& all = stack.at("blk.0.ffn_up_exps.weight");
  const size_t columns = parts.at("model.layers.0.self_attn.q_proj.weight").size();
  int experts_seen = 0;
  for (size_t e = 0; e * columns < all.size(); ++e) {
    const auto found = parts.find("model.layers.0.mlp.experts." + std::to_string(e) + ".up_proj.weight");
    if (found == parts.end() || found->second.empty() || found->second[0] == 0) continue;
    ++experts_seen;
    for (size_t i = 0; i < columns; ++i) ASSERT_EQ(all[e * columns + i], found->second[i]) << e;
  }
  EXPECT_GT(experts_seen, 1);
  EXPECT_EQ(bytes_of((write(one_by_one, made.path() / "a", "q4_0", 1, &parts), made.path() / "a")).size(),
            bytes_of((write(made.path() / "stacked.gguf", made.path() / "b", "q4_0", 1, &stack), made.path() / "b"))
                .size());
}

// A text's own importance lowers the divergence on it; that it also does on other text is in docs/log.md.
TEST(Importance, LowersTheDivergenceOfTheShippedModelOnTheSameText) {
  const TemporaryFolder made;
  const fs::path model = shipped("tiny-qwen");
  const auto tokens = tokens_of(model);
  const Importance importance = learned_from(model, tokens);
  const auto want = logits_of(model, tokens);
  double plain = 0, weighted = 0;
  for (const char* type : {"q4_0", "q4_k", "q3_k_m"}) {
    write(model, made.path() / (std::string("plain") + type), type);
    const auto kinds = write(model, made.path() / (std::string("weighted") + type), type, 1, &importance);
    EXPECT_TRUE(std::any_of(kinds.begin(), kinds.end(), [](const auto& k) { return k.weighted; }));
    plain += divergence(want, logits_of(made.path() / (std::string("plain") + type), tokens), 512);
    weighted += divergence(want, logits_of(made.path() / (std::string("weighted") + type), tokens), 512);
  }
  EXPECT_LT(weighted, plain);
}

}  // namespace
}  // namespace cachalot::testing
