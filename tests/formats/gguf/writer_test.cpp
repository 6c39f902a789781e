#include "formats/gguf/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "formats/gguf/tokenizer.h"
#include "formats/made_files.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

GgufMetadata every_kind() {
  GgufMetadata m;
  m.add("u8", uint8_t{200});
  m.add("i8", int8_t{-100});
  m.add("u16", uint16_t{60000});
  m.add("i16", int16_t{-30000});
  m.add("u32", uint32_t{4000000000});
  m.add("i32", int32_t{-2000000000});
  m.add("u64", uint64_t{1} << 40);
  m.add("i64", -(int64_t{1} << 40));
  m.add("f32", 0.5f);
  m.add("f64", 0.1);
  m.add("bool", true);
  m.add("text", "größer");
  m.add_array("texts", std::vector<std::string>{"a", "", "c"});
  m.add_array("i32s", std::vector<int32_t>{1, -2});
  m.add_array("f32s", std::vector<float>{});
  m.add_array("bools", std::vector<bool>{true, false});
  return m;
}

void expect_every_kind(const GgufFile& file) {
  const int64_t wide = int64_t{1} << 62;
  EXPECT_EQ(file.integer("u8"), 200);
  EXPECT_EQ(file.integer("i8", -wide), -100);
  EXPECT_EQ(file.integer("u16"), 60000);
  EXPECT_EQ(file.integer("i16", -wide), -30000);
  EXPECT_EQ(file.integer("u32", 0, wide), 4000000000);
  EXPECT_EQ(file.integer("i32", -wide), -2000000000);
  EXPECT_EQ(file.integer("u64", 0, wide), int64_t{1} << 40);
  EXPECT_EQ(file.integer("i64", -wide), -(int64_t{1} << 40));
  EXPECT_EQ(file.number("f32"), 0.5);
  EXPECT_EQ(file.number("f64"), 0.1);
  EXPECT_TRUE(file.boolean("bool"));
  EXPECT_EQ(file.text("text"), "größer");
  EXPECT_THAT(file.texts("texts"), ElementsAre("a", "", "c"));
  EXPECT_THAT(file.integers("i32s"), ElementsAre(1, -2));
  EXPECT_EQ(file.array_length("f32s"), 0);
  EXPECT_THAT(file.booleans("bools"), ElementsAre(true, false));
  EXPECT_EQ(file.keys().size(), 16U);
}

TEST(GgufWriter, WritesWhatTheReaderReads) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a.gguf";
  GgufWriter writer(path, every_kind(),
                    {{"none", DType::f32, {0, 4}},
                     {"v", DType::f32, {3}},
                     {"stack", DType::q8_0, {2, 3, 32}},
                     {"nothing", DType::q8_0, {2, 0}}},
                    WholeFile::Existing::keep);
  const std::vector<float> values = {1, 2, 3};
  std::vector<std::byte> blocks(6 * 34);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i);
  writer.append(std::as_bytes(std::span(values)));
  writer.append(std::span(blocks).first(50));
  writer.append(std::span(blocks).subspan(50));
  EXPECT_FALSE(fs::exists(path)) << "a file that is not whole must not have the name";
  writer.finish();

  const auto file = GgufFile::parse(MappedFile(path));
  EXPECT_EQ(file.version(), 3);
  expect_every_kind(file);
  ASSERT_EQ(file.tensors().size(), 4U);
  EXPECT_THAT(file.find("none")->shape, ElementsAre(0, 4));
  EXPECT_THAT(file.find("nothing")->shape, ElementsAre(2, 0));
  EXPECT_THAT(file.find("v")->shape, ElementsAre(3));
  EXPECT_THAT(file.find("stack")->shape, ElementsAre(2, 3, 32));
  EXPECT_EQ(std::memcmp(file.find("v")->bytes.data(), values.data(), 12), 0);
  EXPECT_TRUE(std::equal(blocks.begin(), blocks.end(), file.find("stack")->bytes.begin()));
  for (const auto& tensor : file.tensors())
    EXPECT_EQ((tensor.bytes.data() - file.file()->bytes().data()) % 32, 0) << tensor.name;
}

TEST(GgufWriter, CopiesEveryKindOfValueFromAnotherFile) {
  const TemporaryFolder folder;
  GgufWriter(folder.path() / "a.gguf", every_kind(), {}, WholeFile::Existing::keep).finish();
  const auto first = GgufFile::parse(MappedFile(folder.path() / "a.gguf"));
  GgufMetadata copied;
  for (const auto key : first.keys()) copied.copy(first, key);
  GgufWriter(folder.path() / "b.gguf", copied, {}, WholeFile::Existing::keep).finish();
  expect_every_kind(GgufFile::parse(MappedFile(folder.path() / "b.gguf")));
}

TEST(GgufWriter, KeepsAnExistingFileUnlessAskedToReplaceIt) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("a.gguf", "precious");
  EXPECT_THAT(message_of([&] { GgufWriter(path, {}, {}, WholeFile::Existing::keep); }), HasSubstr("exists already"));
  { const GgufWriter unfinished(path, {}, {}, WholeFile::Existing::replace); }
  EXPECT_EQ(fs::file_size(path), 8U);
  GgufWriter(path, {}, {}, WholeFile::Existing::replace).finish();
  EXPECT_EQ(GgufFile::parse(MappedFile(path)).keys().size(), 0U);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "something was left behind";
}

TEST(GgufWriter, ReportsAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  GgufWriter writer("/dev/full", {}, {{"a", DType::f32, {1}}}, WholeFile::Existing::keep);
  const float one = 1;
  writer.append(std::as_bytes(std::span(&one, 1)));
  EXPECT_THAT(message_of([&] { writer.finish(); }), HasSubstr("No space left on device"));
}

// -- Vocabularies

Vocabulary vocabulary_of(std::string_view pre) {
  GgufMaker maker;
  maker.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
  maker.array<std::string>("tokenizer.ggml.tokens", STRING, {"a", "b", "ab", "<end>", "<mark>", "<hole>"});
  maker.array<int32_t>("tokenizer.ggml.token_type", I32, {1, 1, 1, 3, 4, 5});
  maker.array<std::string>("tokenizer.ggml.merges", STRING, {"a b"});
  maker.u32("tokenizer.ggml.eos_token_id", 3);
  maker.u32("tokenizer.ggml.fim_pre_token_id", 0).u32("tokenizer.ggml.fim_suf_token_id", 4);
  maker.u32("tokenizer.ggml.fim_mid_token_id", 3);
  const std::string bytes = maker.build();
  return read_gguf_vocabulary(GgufFile::parse(as_bytes(bytes), "made"));
}

Vocabulary through_file(const Vocabulary& v, int64_t rows) {
  const TemporaryFolder folder;
  GgufMetadata metadata;
  write_gguf_vocabulary(v, rows, metadata);
  GgufWriter(folder.path() / "v.gguf", metadata, {}, WholeFile::Existing::keep).finish();
  return read_gguf_vocabulary(GgufFile::parse(MappedFile(folder.path() / "v.gguf")));
}

TEST(GgufVocabulary, IsReadAsItWasWrittenForEveryPreTokenizer) {
  for (const char* pre : {"qwen2", "deepseek-r1-qwen", "llama-bpe", "deepseek-v3", "deepseek-llm", "gpt-2"}) {
    SCOPED_TRACE(pre);
    const Vocabulary v = vocabulary_of(pre), again = through_file(v, 6);
    EXPECT_EQ(again.tokens, v.tokens);
    EXPECT_EQ(again.merges, v.merges);
    EXPECT_EQ(again.steps, v.steps);
    EXPECT_EQ(again.nfc, v.nfc);
    EXPECT_EQ(again.ignore_merges, v.ignore_merges);
    EXPECT_EQ(again.add_bos, v.add_bos);
    EXPECT_EQ(again.eos, v.eos);
    EXPECT_EQ(v.infill, (InfillTokens{.prefix = 0, .suffix = 4, .middle = 3}));
    EXPECT_EQ(again.infill, v.infill);
    ASSERT_EQ(again.added.size(), v.added.size());
    for (size_t i = 0; i < v.added.size(); ++i) {
      EXPECT_EQ(again.added[i].id, v.added[i].id);
      EXPECT_EQ(again.added[i].content, v.added[i].content);
      EXPECT_EQ(again.added[i].special, v.added[i].special);
    }
  }
}

TEST(GgufVocabulary, FillsTheEmbeddingsSpareRowsAndRefusesIdsBeyondThem) {
  const Vocabulary v = vocabulary_of("qwen2");
  EXPECT_EQ(through_file(v, 100).tokens.size(), 100U);
  GgufMetadata metadata;
  EXPECT_THAT(message_of([&] { write_gguf_vocabulary(v, 5, metadata); }), HasSubstr("the embedding has 5 rows"));
}

TEST(GgufVocabulary, RefusesAPreTokenizerWithoutAName) {
  Vocabulary v = vocabulary_of("qwen2");
  std::get<SplitStep>(v.steps[0]).pattern = "x";
  GgufMetadata metadata;
  EXPECT_THAT(message_of([&] { write_gguf_vocabulary(v, 6, metadata); }), HasSubstr("GGUF names its pre-tokenisers"));
}

}  // namespace
}  // namespace cachalot
