#include "formats/checkpoint.h"

#include <gmock/gmock.h>

#include <fmt/format.h>

#include "formats/gguf/file.h"
#include "formats/made_files.h"
#include "formats/safetensors/file.h"
#include "tensor/quant_blocks.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

std::string refusal(const fs::path& path) {
  return message_of([&] { Checkpoint::open(path); });
}

// "NAME":{…} of an F32 tensor of `count` numbers at byte `begin`.
std::string entry(const std::string& name, int count, int begin) {
  return fmt::format(R"("{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", name, count, begin,
                     begin + 4 * count);
}

std::string one_tensor_file(const std::string& name) {
  return safetensors_file("{" + entry(name, 2, 0) + "}", std::string(8, '\1'));
}

TEST(Checkpoint, OpensAFolderWithOneFile) {
  TemporaryFolder folder;
  folder.write("config.json", R"({"model_type":"qwen2"})");
  folder.write("model.safetensors", one_tensor_file("a"));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.container(), Container::safetensors);
  EXPECT_EQ(checkpoint.config()->text("model_type"), "qwen2");
  EXPECT_EQ(checkpoint.path(), folder.path());
  EXPECT_EQ(checkpoint.gguf(), nullptr);
  ASSERT_NE(checkpoint.find("a"), nullptr);
  EXPECT_EQ(checkpoint.find("b"), nullptr);
  EXPECT_EQ(checkpoint.tensor_bytes(), 8);
  checkpoint.release(*checkpoint.find("a"));
  EXPECT_EQ(checkpoint.find("a")->bytes[0], std::byte{1}) << "released pages come back from the file";
}

class ShardedFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("config.json", "{}");
    folder_.write("1.safetensors", one_tensor_file("a"));
    folder_.write("2.safetensors", one_tensor_file("b"));
    index(R"("a":"1.safetensors","b":"2.safetensors")");
  }
  void index(const std::string& map) {
    folder_.write("model.safetensors.index.json", R"({"metadata":{"total_size":16},"weight_map":{)" + map + "}}");
  }
  TemporaryFolder folder_;
};

TEST_F(ShardedFolder, GivesTheTensorsOfAllShards) {
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.find("b")->file->path().filename(), "2.safetensors");
}

TEST_F(ShardedFolder, AnIndexThatDisagreesWithTheShardsIsRefused) {
  index(R"("a":"2.safetensors","b":"2.safetensors")");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("tensor 'a' is not in '2.safetensors'"));
  index(R"("a":"1.safetensors","b":"2.safetensors","c":"2.safetensors")");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("tensor 'c' is not in '2.safetensors'"));
}

TEST_F(ShardedFolder, ATensorInTwoShardsIsRefused) {
  folder_.write("2.safetensors",
                safetensors_file("{" + entry("a", 2, 0) + "," + entry("b", 2, 8) + "}", std::string(16, '\1')));
  const std::string message = refusal(folder_.path());
  EXPECT_THAT(message, HasSubstr("tensor 'a' is in two files"));
  EXPECT_THAT(message, HasSubstr("1.safetensors and 2.safetensors both hold it"));
}

TEST_F(ShardedFolder, AMissingShardIsNamed) {
  fs::remove(folder_.path() / "2.safetensors");
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("the shard '2.safetensors' is missing"));
}

TEST(Checkpoint, OtherQuantizationsAreRefusedByName) {
  const auto with = [](const std::string& quantization) {
    TemporaryFolder folder;
    folder.write("config.json", R"({"quantization_config":)" + quantization + "}");
    folder.write("model.safetensors", one_tensor_file("a"));
    return refusal(folder.path());
  };
  EXPECT_THAT(with(R"({"quant_method":"gptq","bits":4})"), HasSubstr("quantized with GPTQ, which is not read"));
  EXPECT_THAT(with(R"({"quant_method":"awq"})"), HasSubstr("quantized with AWQ"));
  EXPECT_THAT(with(R"({"quant_method":"bitsandbytes"})"), HasSubstr("quantized with bitsandbytes"));
  EXPECT_THAT(with(R"({"load_in_4bit":true})"), HasSubstr("quantized with bitsandbytes"));
  EXPECT_THAT(with(R"({"quant_method":"compressed-tensors"})"), HasSubstr("quantized with compressed-tensors"));
  EXPECT_THAT(with(R"({"quant_method":"hqq"})"), HasSubstr("quantized with HQQ,"));
  EXPECT_THAT(with(R"({"quant_method":"newest"})"), HasSubstr("quantized with 'newest'"));
  EXPECT_THAT(with(R"({"quant_method":"gptq"})"), HasSubstr("hint: use the unquantized checkpoint"));
}

TEST(Checkpoint, OldQuantizedFoldersAreKnownByTheirTensors) {
  TemporaryFolder folder;
  folder.write("config.json", "{}");
  folder.write("model.safetensors", one_tensor_file("model.layers.0.self_attn.q_proj.qweight"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("quantized with GPTQ or AWQ"));
}

TEST(Checkpoint, WhatIsNoCheckpointIsRefusedWithAHint) {
  TemporaryFolder folder;
  EXPECT_THAT(refusal(folder.path() / "gone"), HasSubstr("there is no such file or folder"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("there are no *.safetensors files"));
  EXPECT_THAT(refusal(folder.write("model.safetensors", "")), HasSubstr("give the folder that holds config.json"));
  EXPECT_THAT(refusal(folder.path()), HasSubstr("config.json is missing"));
  EXPECT_THAT(refusal(folder.write("pytorch_model.bin", "PK")), HasSubstr("PyTorch pickles are not read"));
  EXPECT_THAT(refusal(folder.write("model.gguf", "x")), HasSubstr("does not start with the letters GGUF"));
  EXPECT_THAT(refusal(folder.write("notes.txt", "hello")),
              HasSubstr("neither a Hugging Face folder nor a GGUF file"));
  fs::remove(folder.path() / "model.safetensors");
  folder.write("config.json", "{}");
  EXPECT_THAT(refusal(folder.path()), HasSubstr("PyTorch pickle"));
}

// --- GGUF ---

GgufMaker small_llama() {
  GgufMaker maker;
  maker.text("general.architecture", "llama").u32("llama.embedding_length", 16).u32("llama.block_count", 1);
  maker.u32("llama.attention.head_count", 2).u32("llama.attention.head_count_kv", 1);
  maker.u32("llama.feed_forward_length", 8).u32("llama.context_length", 64);
  maker.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return maker;
}

std::vector<float> counting(int count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i);
  return values;
}

TEST(Checkpoint, AGgufFileHasMetadataAndNoConfig) {
  TemporaryFolder folder;
  const auto file = folder.write("m.gguf", small_llama().f32_tensor("a", {2, 3}, counting(6)).build());
  const Checkpoint checkpoint = Checkpoint::open(file);
  EXPECT_EQ(checkpoint.container(), Container::gguf);
  EXPECT_EQ(checkpoint.config(), nullptr);
  EXPECT_EQ(checkpoint.stated_in(), file.string());
  EXPECT_EQ(checkpoint.gguf()->text("general.architecture"), "llama");
  ASSERT_EQ(checkpoint.gguf_shards().size(), 1u);
  EXPECT_EQ(&checkpoint.gguf_shards()[0], checkpoint.gguf());
  EXPECT_EQ(checkpoint.find("a")->shape, (std::vector<int64_t>{3, 2}));
}

// Shards of one small model, `number` counted from 1.
GgufMaker shard(int number, int count, int tensors) {
  GgufMaker maker = number == 1 ? small_llama() : GgufMaker();
  maker.u16("split.no", static_cast<uint16_t>(number - 1)).u16("split.count", static_cast<uint16_t>(count));
  maker.key("split.tensors.count", I32, raw<int32_t>(tensors));
  return maker.f32_tensor(fmt::format("t{}", number), {4}, counting(4));
}

TEST(Checkpoint, ASplitFileIsOpenedByItsFirstShard) {
  TemporaryFolder folder;
  const auto first = folder.write("m-00001-of-00003.gguf", shard(1, 3, 3).build());
  folder.write("m-00002-of-00003.gguf", shard(2, 3, 3).build());
  const auto third = folder.write("m-00003-of-00003.gguf", shard(3, 3, 3).build());
  const Checkpoint checkpoint = Checkpoint::open(first);
  EXPECT_EQ(checkpoint.tensors().size(), 3u);
  EXPECT_EQ(checkpoint.find("t3")->file->path(), third);
  EXPECT_TRUE(checkpoint.gguf()->has("general.architecture"));

  const std::string message = refusal(third);
  EXPECT_THAT(message, HasSubstr("this is shard 3 of 3, not the first"));
  EXPECT_THAT(message, HasSubstr("hint: give " + first.string()));
}

TEST(Checkpoint, ASplitFileWithoutAllOfItsShardsIsRefused) {
  TemporaryFolder folder;
  const auto first = folder.write("m-00001-of-00002.gguf", shard(1, 2, 2).build());
  EXPECT_THAT(refusal(first), HasSubstr("shard 2 of 2 is missing"));
  folder.write("m-00002-of-00002.gguf", shard(3, 3, 2).build());
  EXPECT_THAT(refusal(first), HasSubstr("the file is not shard 2 of 2"));
  folder.write("m-00002-of-00002.gguf", small_llama().build());
  EXPECT_THAT(refusal(first), HasSubstr("'split.no' is missing"));
  folder.write("m-00002-of-00002.gguf", shard(2, 2, 2).f32_tensor("t1", {4}).build());
  EXPECT_THAT(refusal(first), HasSubstr("the 2 shards hold 3 tensors, but 2 were expected"));
  GgufMaker same = shard(2, 2, 2);
  same.tensors[0].name = "t1";
  folder.write("m-00002-of-00002.gguf", same.build());
  EXPECT_THAT(refusal(first), HasSubstr("tensor 't1' is in two files"));
  EXPECT_THAT(refusal(folder.write("renamed.gguf", shard(1, 2, 2).build())), HasSubstr("its name does not say so"));
  EXPECT_THAT(refusal(folder.write("m-00001-of-00005.gguf", shard(1, 2, 2).build())),
              HasSubstr("its name does not say so"));
  EXPECT_THAT(refusal(folder.write("m-0000x-of-00002.gguf", shard(1, 2, 2).build())),
              HasSubstr("its name does not say so"));
}

TEST(Checkpoint, OpensFourHundredTensors) {
  TemporaryFolder folder;
  GgufMaker maker = small_llama();
  std::string header = "{", data;
  for (int i = 0; i < 400; ++i) {
    const std::string name = fmt::format("model.layers.{}.self_attn.q_proj.weight", i);
    maker.f32_tensor(name, {4, 4});
    header += (i ? "," : "") + entry(name, 16, i * 64);
  }
  folder.write("config.json", "{}");
  folder.write("model.safetensors", safetensors_file(header + "}", std::string(400 * 64, '\0')));
  const auto gguf = folder.write("m.gguf", maker.build());
  for (const fs::path& path : {folder.path(), gguf}) { EXPECT_EQ(Checkpoint::open(path).tensors().size(), 400u); }
}

// --- goldens: files by the public gguf package beside the same weights by transformers ---

fs::path goldens() { return fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens"; }

TEST(CheckpointGoldens, QuantizedTensorsReadAsGgufPyReadsThem) {
  const Checkpoint model = Checkpoint::open(goldens() / "gguf/quants.gguf");
  const auto values = SafetensorsFile::parse(MappedFile(goldens() / "gguf/quants.safetensors"));
  int compared = 0;
  for (const SafetensorsEntry& want : values.tensors()) {
    if (!want.name.starts_with("dequantized.")) continue;
    SCOPED_TRACE(want.name);
    const StoredTensor* stored = model.find(want.name.substr(12));
    ASSERT_NE(stored, nullptr);
    std::vector<float> got(want.bytes.size() / 4), expected(got.size());
    stored->read_rows(0, want.shape[0], got.data());
    std::memcpy(expected.data(), want.bytes.data(), want.bytes.size());
    EXPECT_EQ(got, expected);
    ++compared;
  }
  EXPECT_EQ(compared, 16);
}

}  // namespace
}  // namespace cachalot
