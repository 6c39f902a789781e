// Checkpoints written as GGUF: the same numbers give the same logits bit for bit, fewer bits move them by little.
#include "convert/quantize.h"

#include <gmock/gmock.h>

#include <cmath>

#include "convert/importance_ops.h"
#include "engine/scoring.h"
#include "formats/gguf/file.h"
#include "formats/made_files.h"
#include "load/loaded_model.h"
#include "ops/trace_ops.h"
#include "support/goldens.h"

namespace cachalot::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path shipped(const char* name) { return fs::path(CACHALOT_SOURCE_DIR) / "models" / name; }

std::vector<float> logits_of(const fs::path& path, const std::vector<int32_t>& tokens,
                             std::optional<DType> weights = DType::f32) {
  TestModel model(path, best_kernels(), weights);
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

// --weights holds each matrix as the recipe of that name writes it, the output head finer than the others.
TEST(Quantize, WeightsHeldInATypeGiveTheLogitsOfTheFileOfThatType) {
  const TemporaryFolder made;
  const fs::path model = shipped("tiny-qwen"), file = made.path() / "file.gguf", mixed = made.path() / "mixed.gguf";
  const auto tokens = tokens_of(model);
  write(model, mixed, "q4_k_m");
  for (const fs::path& source : {model, mixed}) {
    for (const DType type : {DType::q4_0, DType::q4_k, DType::q5_1, DType::q6_k, DType::q8_0}) {
      write(source, file, std::string(name(type)).c_str());
      EXPECT_EQ(logits_of(source, tokens, type), logits_of(file, tokens, std::nullopt)) << source << name(type);
      fs::remove(file);
    }
  }
}

TEST(Quantize, TheFileIsTheSameOnAnyNumberOfThreads) {
  const TemporaryFolder made;
  write(shipped("tiny-r1"), made.path() / "one", "q4_k_m", 1);
  write(shipped("tiny-r1"), made.path() / "three", "q4_k_m", 3);
  EXPECT_EQ(bytes_of(made.path() / "one"), bytes_of(made.path() / "three"));
}

// Named as gguf-py names them.
TEST(Quantize, TheFileHasAllChatTemplatesAndNamedTokens) {
  const TemporaryFolder made;
  fs::create_directory(made.path() / "from");
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    fs::create_symlink(shipped("tiny-qwen") / name, made.path() / "from" / name);
  made.write("from/tokenizer_config.json",
             R"({"chat_template": [{"name": "default", "template": "{{ pad_token }}{{ unk_token }}{{ sep_token }}"},
                 {"name": "tool_use", "template": "T"}, {"name": "with-documents", "template": "R"}],
                 "eos_token": "<|im_end|>", "pad_token": "<|im_start|>", "unk_token": "<think>"})");
  write(made.path() / "from", made.path() / "a.gguf", "q8_0");
  const Checkpoint to = Checkpoint::open(made.path() / "a.gguf");
  EXPECT_THAT(to.gguf()->texts("tokenizer.chat_templates"), ::testing::ElementsAre("tool_use", "with_documents"));
  EXPECT_EQ(to.gguf()->text("tokenizer.chat_template.tool_use"), "T");
  EXPECT_EQ(to.gguf()->text("tokenizer.chat_template.with_documents"), "R");
  const TextModel model = TextModel::read(to);
  const nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  EXPECT_EQ(model.chat_template->render({{"messages", messages}}), "<|im_start|><think>");
  EXPECT_EQ(model.chat_template->render({{"messages", messages}, {"tools", messages}}), "T");
  made.write("from/tokenizer_config.json", R"({"chat_template": 5})");
  write(made.path() / "from", made.path() / "b.gguf", "q8_0");
  EXPECT_FALSE(TextModel::read(Checkpoint::open(made.path() / "b.gguf")).chat_template) << "one that cannot be read";
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
  EXPECT_EQ(GenerationDefaults::read(to, got.tokenizer).sampling.temperature, 0) << "do_sample is false";
}

TEST(Quantize, KeepsAnExistingFileAndLeavesNothingBehind) {
  const TemporaryFolder made;
  const fs::path file = made.write("a.gguf", "precious");
  EXPECT_THAT(message_of([&] { write(shipped("tiny-qwen"), file, "q8_0"); }), HasSubstr("exists already"));
  EXPECT_EQ(bytes_of(file), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(made.path()), {}), 1);
}

// A GGUF file of one matrix, of an architecture that no family knows.
std::string one_matrix(const std::vector<float>& values, int64_t columns) {
  GgufMaker maker;
  maker.text("general.architecture", "unheard-of");
  maker.f32_tensor("blk.0.attn_q.weight", {columns, std::ssize(values) / columns}, values);
  return maker.build();
}

TEST(Quantize, RefusesNumbersThatTheTypeCannotHoldByTensorRowAndValue) {
  const TemporaryFolder made;
  const auto refusal = [&](float value, const char* type) {
    std::vector<float> values(3 * 256, 0.5f);
    values[256 + 7] = value;
    const fs::path from = made.write("from.gguf", one_matrix(values, 256));
    return message_of([&] { write(from, made.path() / "a.gguf", type); });
  };
  const std::string row = "row 1 of tensor 'blk.0.attn_q.weight' holds ";
  for (const char* type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "q2_k", "q3_k",
                           "q4_k", "q5_k", "q6_k", "q4_k_m"}) {
    SCOPED_TRACE(type);
    EXPECT_THAT(refusal(NAN, type), HasSubstr(row + "nan"));
    EXPECT_THAT(refusal(-INFINITY, type), HasSubstr(row + "-inf"));
    if (std::string_view(type) == "f32") continue;
    EXPECT_THAT(refusal(3.4e38f, type), AllOf(HasSubstr(row + "3.4e+38, which "), HasSubstr("hint: --type f32")));
    if (std::string_view(type) == "bf16") continue;
    EXPECT_THAT(refusal(-1e20f, type), AllOf(HasSubstr(row + "-1e+20, which "), HasSubstr("hint: --type bf16")));
  }
  EXPECT_THAT(refusal(1e6f, "f16"), HasSubstr("f16 cannot\n  because: its largest number is 65504"));
  EXPECT_EQ(std::distance(fs::directory_iterator(made.path()), {}), 1) << "nothing is left behind";
}

TEST(Quantize, CopiesIntegersThatNoModelMultipliesWith) {
  const TemporaryFolder made;
  GgufMaker maker;
  maker.text("general.architecture", "unheard-of");
  const std::string ids = raw<int32_t>(7) + raw<int32_t>(-9);
  maker.tensor("positions", {2}, 26, ids).tensor("flags", {2, 3}, 24, "abcdef");
  write(made.write("from.gguf", maker.build()), made.path() / "a.gguf", "q8_0");
  const Checkpoint written = Checkpoint::open(made.path() / "a.gguf");
  for (const auto& [name, type, bytes] :
       {std::tuple{"positions", DType::i32, ids}, {"flags", DType::i8, std::string("abcdef")}}) {
    const StoredTensor* tensor = written.find(name);
    ASSERT_TRUE(tensor);
    EXPECT_EQ(tensor->dtype, type);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()), bytes);
  }
}

TEST(Quantize, RefusesIntegersThatTheModelMultipliesWith) {
  const TemporaryFolder made;
  write(golden_root() / "qwen3/plain", made.path() / "f32.gguf", "f32");
  std::string file = bytes_of(made.path() / "f32.gguf");
  const std::string tensor = "blk.1.attn_k.weight";
  // The name is followed by the number of dimensions, two sizes and the type, here F32.
  const size_t type = file.find(tensor) + tensor.size() + 4 + 2 * 8;
  ASSERT_EQ(file.substr(type, 4), raw<uint32_t>(0));
  file.replace(type, 4, raw<uint32_t>(26));
  const fs::path integers = made.write("i32.gguf", file);
  const std::string reason = "tensor '" + tensor + "' is stored as i32";
  EXPECT_THAT(message_of([&] { write(integers, made.path() / "a.gguf", "q8_0"); }), HasSubstr(reason));
  EXPECT_THAT(message_of([&] { TestModel model(integers, best_kernels()); }), HasSubstr(reason));
}

TEST(Quantize, RefusesToCopyWhatItCannotMeasure) {
  const TemporaryFolder made;
  GgufMaker maker;
  maker.text("general.architecture", "unheard-of").f32_tensor("a", {2}).tensor("b", {256}, 17, std::string(74, 'x'));
  EXPECT_THAT(message_of([&] { write(made.write("from.gguf", maker.build()), made.path() / "a.gguf", "q8_0"); }),
              HasSubstr("tensor 'b' is stored as IQ2_XS, which is not read"));
}

Importance learned_from(const fs::path& path, const std::vector<int32_t>& tokens) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const Config config = model_config(checkpoint);
  const Family& family = family_of(config);
  ModelSpec spec = family.spec(config);
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
  TraceOps trace(model.ops, [&](std::string_view point, const Tensor& x, std::span<const float> numbers) {
    if (point != "layer.1.attn.heads") return;
    squares.assign(static_cast<size_t>(x.dim(1) * x.dim(2)), 0);  // [T, H, K]
    for (size_t i = 0; i < numbers.size(); ++i) squares[i % squares.size()] += std::pow(numbers[i], 2);
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
