#include "formats/gguf/file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "formats/made_files.h"
#include "formats/safetensors/file.h"
#include "tensor/quant_blocks.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufMaker small_file() {
  GgufMaker maker;
  maker.text("general.architecture", "test").u32("test.count", 7).f32("test.number", 0.25f).flag("test.flag", true);
  maker.key("test.negative", I64, raw<int64_t>(-3)).key("test.huge", U64, raw<uint64_t>(~0ull));
  maker.array<std::string>("test.words", STRING, {"one", "", "three"})
      .array<uint16_t>("test.list", U16, {1, 2, 65535});
  maker.array<float>("test.floats", F32, {1.5f, INFINITY}).array<uint8_t>("test.flags", BOOL, {1, 0});
  maker.array<uint32_t>("test.empty", U32, {});
  maker.f32_tensor("first", {3, 2}, {1, 2, 3, 4, 5, 6}).tensor("second", {32}, 8, std::string(34, '\1'));
  return maker;
}

GgufFile parse(const std::string& bytes) { return GgufFile::parse(as_bytes(bytes), "file.gguf"); }
std::string refusal(const std::string& bytes) {
  return message_of([&] { parse(bytes); });
}

TEST(Gguf, GivesMetadataByTypeAndTensorsInPyTorchOrder) {
  const std::string bytes = small_file().build();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.version(), 3);
  EXPECT_EQ(file.text("general.architecture"), "test");
  EXPECT_EQ(file.integer("test.count"), 7);
  EXPECT_EQ(file.integer("test.negative", -10), -3);
  EXPECT_EQ(file.number("test.number"), 0.25);
  EXPECT_EQ(file.number("test.count"), 7.0);
  EXPECT_TRUE(file.boolean("test.flag"));
  EXPECT_THAT(file.texts("test.words"), ElementsAre("one", "", "three"));
  EXPECT_THAT(file.integers("test.list"), ElementsAre(1, 2, 65535));
  EXPECT_THAT(file.integers("test.count"), ElementsAre(7));
  EXPECT_THAT(file.numbers("test.floats"), ElementsAre(1.5, INFINITY));
  EXPECT_THAT(file.booleans("test.flags"), ElementsAre(true, false));
  EXPECT_EQ(file.array_length("test.words"), 3);
  EXPECT_EQ(file.array_length("test.count"), std::nullopt);
  EXPECT_EQ(file.keys().size(), 11u);

  ASSERT_EQ(file.tensors().size(), 2u);
  const GgufTensor* first = file.find("first");
  ASSERT_NE(first, nullptr);
  EXPECT_THAT(first->shape, ElementsAre(2, 3));
  EXPECT_EQ(first->dtype, DType::f32);
  float last;
  std::memcpy(&last, first->bytes.data() + 20, 4);
  EXPECT_EQ(last, 6.0f);
  EXPECT_EQ(file.find("second")->dtype, DType::q8_0);
  EXPECT_EQ(file.find("second")->bytes.size(), 34u);
  EXPECT_EQ(file.find("third"), nullptr);
}

TEST(Gguf, AbsentKeysGiveTheFallbackOrNothing) {
  const std::string bytes = small_file().build();
  const GgufFile file = parse(bytes);
  EXPECT_FALSE(file.has("nothing"));
  EXPECT_EQ(file.integer_or("nothing", 5), 5);
  EXPECT_EQ(file.number_or("nothing", 0.5), 0.5);
  EXPECT_TRUE(file.boolean_or("nothing", true));
  EXPECT_EQ(file.text_or("nothing", "x"), "x");
  EXPECT_TRUE(file.texts("nothing").empty());
  EXPECT_TRUE(file.integers("nothing").empty());
  EXPECT_TRUE(file.numbers("nothing").empty());
  EXPECT_TRUE(file.booleans("nothing").empty());
  EXPECT_EQ(file.array_length("nothing"), std::nullopt);
}

TEST(Gguf, EveryIntegerTypeIsReadAsAnInteger) {
  GgufMaker maker;
  maker.key("a", U8, raw<uint8_t>(200)).key("b", I8, raw<int8_t>(-5)).key("c", U16, raw<uint16_t>(60000));
  maker.key("d", I16, raw<int16_t>(-300)).key("e", I32, raw<int32_t>(-70000)).key("f", U64, raw<uint64_t>(12));
  maker.key("g", F64, raw<double>(2.5)).key("h", F64, raw<double>(NAN));
  const std::string bytes = maker.build();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.integer("a"), 200);
  EXPECT_EQ(file.integer("b", -128), -5);
  EXPECT_EQ(file.integer("c"), 60000);
  EXPECT_EQ(file.integer("d", -32768), -300);
  EXPECT_EQ(file.integer("e", -1 << 20), -70000);
  EXPECT_EQ(file.integer("f"), 12);
  EXPECT_EQ(file.number("g"), 2.5);
  EXPECT_THAT(message_of([&] { file.number("h"); }), HasSubstr("not finite"));
}

TEST(Gguf, AWrongTypeOrRangeNamesFileAndKey) {
  const std::string bytes = small_file().build();
  const GgufFile file = parse(bytes);
  EXPECT_THAT(message_of([&] { file.integer("test.words"); }),
              HasSubstr("in file.gguf: metadata key 'test.words' is an array"));
  EXPECT_THAT(message_of([&] { file.integer("nothing"); }), HasSubstr("metadata key 'nothing' is missing"));
  EXPECT_THAT(message_of([&] { file.integer("test.number"); }), HasSubstr("'test.number' is not an integer"));
  EXPECT_THAT(message_of([&] { file.integer("test.negative"); }), HasSubstr("from 0 to"));
  EXPECT_THAT(message_of([&] { file.integer("test.huge"); }), HasSubstr("too large"));
  EXPECT_THAT(message_of([&] { file.number("test.flag"); }), HasSubstr("not a number"));
  EXPECT_THAT(message_of([&] { file.number("general.architecture"); }), HasSubstr("not a number"));
  EXPECT_THAT(message_of([&] { file.boolean("test.count"); }), HasSubstr("not true or false"));
  EXPECT_THAT(message_of([&] { file.text("test.count"); }), HasSubstr("not a text"));
  EXPECT_THAT(message_of([&] { file.texts("general.architecture"); }), HasSubstr("array of texts"));
  EXPECT_THAT(message_of([&] { file.texts("test.list"); }), HasSubstr("array of texts"));
  EXPECT_THAT(message_of([&] { file.integers("test.floats"); }), HasSubstr("not an integer"));
  EXPECT_THAT(message_of([&] { file.numbers("test.words"); }), HasSubstr("not a number"));
  EXPECT_THAT(message_of([&] { file.booleans("test.list"); }), HasSubstr("array of true or false"));
}

TEST(Gguf, VersionTwoIsReadAndOthersAreRefusedByName) {
  GgufMaker maker = small_file();
  maker.version = 2;
  EXPECT_EQ(parse(maker.build()).tensors().size(), 2u);
  maker.version = 1;
  EXPECT_THAT(refusal(maker.build()), HasSubstr("GGUF version 1 is not read"));
  maker.version = 4;
  EXPECT_THAT(refusal(maker.build()), HasSubstr("GGUF version 4 is not known"));
  maker.version = 0;
  EXPECT_THAT(refusal(maker.build()), HasSubstr("GGUF version 0 is not known"));
  maker.version = 0x03000000;
  EXPECT_THAT(refusal(maker.build()), HasSubstr("big-endian"));
}

TEST(Gguf, ATypeThatIsNotReadIsOpaqueAndTheOthersAreRead) {
  GgufMaker maker;
  maker.f32_tensor("a", {3}).tensor("known", {256}, 17, std::string(74, '\1'));
  maker.tensor("removed", {32}, 4, std::string(20, '\2')).f32_tensor("b", {1}).tensor("new", {5}, 77, "12345");
  const std::string bytes = maker.build();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.find("a")->bytes.size(), 12u);
  EXPECT_EQ(file.find("b")->bytes.size(), 4u);
  for (const auto& [name, type, size] :
       {std::tuple{"known", "IQ2_XS", 96u}, {"removed", "type 4", 32u}, {"new", "type 77", 5u}}) {
    const GgufTensor* tensor = file.find(name);
    EXPECT_EQ(tensor->dtype, DType::opaque) << name;
    EXPECT_EQ(tensor->other_type, type);
    EXPECT_EQ(tensor->bytes.size(), size) << "up to the next tensor, or the end";
  }
  EXPECT_EQ(gguf_type(DType::opaque), std::nullopt);
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string bytes = small_file().build();
  for (size_t size = 0; size < bytes.size(); ++size) {
    // An allocation of the exact size, so that a sanitizer sees a read beyond it.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
    EXPECT_THROW(GgufFile::parse(std::as_bytes(std::span(cut)), "cut"), Error) << size << " of " << bytes.size();
  }
}

TEST(Gguf, EveryFlippedByteIsReadOrRefusedButNeverCrashes) {
  const std::string bytes = small_file().build();
  int read = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string wrong = bytes;
      wrong[i] = static_cast<char>(wrong[i] ^ flip);
      try {
        const GgufFile file = parse(wrong);
        for (const auto key : file.keys()) {
          try {
            file.texts(key);
          } catch (const Error&) {}
        }
        ++read;
      } catch (const Error&) {}
    }
  EXPECT_GT(read, 0);
}

// A maker with one hostile change each, and what the refusal must say.
struct Hostile {
  const char* what;
  std::function<std::string()> bytes;
  const char* message;
};

std::string with_tensor(std::vector<int64_t> ne, uint32_t type, size_t bytes = 64, std::string name = "t") {
  return GgufMaker().tensor(std::move(name), std::move(ne), type, std::string(bytes, '\0')).build();
}

std::string with_key(const std::string& entry) {
  GgufMaker maker;
  maker.keys.push_back(entry);
  return maker.build();
}

std::string replaced(std::string bytes, size_t at, const std::string& part) {
  return bytes.replace(at, part.size(), part);
}

// Where the offset of the last tensor stands in a file of `maker`.
size_t last_offset_at(const GgufMaker& maker) {
  GgufMaker directory = maker;
  for (auto& tensor : directory.tensors) tensor.bytes.clear();
  std::string bytes = "GGUF" + std::string(20, '\0');
  size_t size = bytes.size();
  for (const auto& key : maker.keys) size += key.size();
  for (const auto& tensor : maker.tensors) size += 8 + tensor.name.size() + 4 + 8 * tensor.ne.size() + 4 + 8;
  return size - 8;
}

std::string with_offset(uint64_t offset) {
  GgufMaker maker;
  maker.f32_tensor("a", {16}).f32_tensor("b", {16});
  return replaced(maker.build(), last_offset_at(maker), raw(offset));
}

const std::vector<Hostile> kHostile = {
    {"wrong magic", [] { return "GGML" + small_file().build().substr(4); }, "not a GGUF file"},
    {"an empty file", [] { return std::string(); }, "not a GGUF file"},
    {"more tensors than bytes", [] { return replaced(GgufMaker().build(), 8, raw<uint64_t>(1)); },
     "the number of tensors is 1"},
    {"2^63 tensors", [] { return replaced(small_file().build(), 8, raw<uint64_t>(1ull << 63)); },
     "the number of tensors"},
    {"2^64 - 1 keys", [] { return replaced(small_file().build(), 16, raw<uint64_t>(~0ull)); },
     "the number of metadata keys"},
    {"more keys than any model has",
     [] { return replaced(GgufMaker().build(), 16, raw<uint64_t>(70000)) + std::string(1 << 20, '\0'); },
     "at most 65536"},
    {"a key of 2^62 bytes", [] { return with_key(raw<uint64_t>(1ull << 62) + std::string(8, 'k')); },
     "a metadata key is"},
    {"a key longer than the format has", [] { return with_key(counted(std::string(65536, 'k')) + raw(U8) + "x"); },
     "at most 65535"},
    {"an unknown value type", [] { return with_key(counted("k") + raw<uint32_t>(13) + std::string(8, '\0')); },
     "unknown type 13"},
    {"an array of arrays", [] { return with_key(counted("k") + raw(ARRAY) + raw(ARRAY) + raw<uint64_t>(0)); },
     "array of arrays"},
    {"an array of an unknown type",
     [] { return with_key(counted("k") + raw(ARRAY) + raw<uint32_t>(99) + raw<uint64_t>(0)); }, "unknown type 99"},
    {"an array of 2^61 strings",
     [] { return with_key(counted("k") + raw(ARRAY) + raw(STRING) + raw<uint64_t>(1ull << 61)); },
     "the length of array 'k'"},
    {"an array whose bytes overflow",
     [] { return with_key(counted("k") + raw(ARRAY) + raw(U64) + raw<uint64_t>((1ull << 61) + 1)); },
     "the length of array 'k'"},
    {"a string longer than the file", [] { return with_key(counted("k") + raw(STRING) + raw<uint64_t>(1000)); },
     "a metadata string is 1000 bytes long"},
    {"a key twice", [] { return GgufMaker().u32("k", 1).u32("k", 1).build(); }, "'k' appears twice"},
    {"an alignment of 3", [] { return GgufMaker().u32("general.alignment", 3).build(); }, "power of two"},
    {"an alignment of 0", [] { return GgufMaker().u32("general.alignment", 0).build(); }, "'general.alignment' is 0"},
    {"an alignment of text", [] { return GgufMaker().text("general.alignment", "x").build(); }, "not an integer"},
    {"five dimensions", [] { return with_tensor({1, 1, 1, 1, 1}, 0); }, "has 5 dimensions"},
    {"a negative dimension", [] { return with_tensor({4, -1}, 0); }, "dimension of size -1"},
    {"2^32 x 2^32 elements", [] { return with_tensor({1ll << 32, 1ll << 32}, 0); }, "larger than the file"},
    {"2^62 elements of 4 bytes", [] { return with_tensor({1ll << 62}, 0); }, "larger than the file"},
    {"a row that is no whole block", [] { return with_tensor({40}, 8); }, "rows of 40 elements of q8_0"},
    {"2^62 elements of an unknown type", [] { return with_tensor({1ll << 62}, 77); }, "larger than the file"},
    {"2^32 x 2^32 elements of an unknown type", [] { return with_tensor({1ll << 32, 1ll << 32}, 77); },
     "larger than the file"},
    {"more elements of an unknown type than bits",
     [] { return GgufMaker().tensor("t", {257}, 77, std::string(32, '\0')).f32_tensor("next", {1}).build(); },
     "tensors 't' and 'next' overlap"},
    {"a name too long", [] { return with_tensor({4}, 0, 16, std::string(64, 'n')); },
     "a tensor name is 64 bytes long"},
    {"a tensor twice", [] { return GgufMaker().f32_tensor("t", {4}).f32_tensor("t", {4}).build(); },
     "'t' appears twice"},
    {"an offset off the alignment", [] { return with_offset(68); }, "multiples of general.alignment = 32"},
    {"an offset past the end", [] { return with_offset(1 << 20); }, "beyond the end of the file"},
    {"an offset of 2^64 - 32", [] { return with_offset(~0ull - 31); }, "beyond the end of the file"},
    {"an overlap", [] { return with_offset(32); }, "tensors 'a' and 'b' overlap"},
    {"the same place twice", [] { return with_offset(0); }, "overlap"},
    {"a name that would paint the terminal", [] { return with_tensor({4, -1}, 0, 64, "\x1b[31m\xff"); },
     "tensor '\\x1b[31m\\xff'"},
};

TEST(Gguf, HostileFilesAreRefusedWithAReason) {
  for (const Hostile& hostile : kHostile) {
    SCOPED_TRACE(hostile.what);
    const std::string message = refusal(hostile.bytes());
    EXPECT_THAT(message, HasSubstr(hostile.message));
    EXPECT_THAT(message, HasSubstr("in file.gguf: "));
  }
}

TEST(Gguf, TensorsWithoutRowsShareTheirPlaceWithOthers) {
  const std::string bytes =
      GgufMaker().f32_tensor("none", {4, 0}).f32_tensor("some", {2}, {1, 2}).f32_tensor("no columns", {0, 3}).build();
  const auto file = GgufFile::parse(as_bytes(bytes), "f");
  EXPECT_THAT(file.find("none")->shape, ElementsAre(0, 4));
  EXPECT_EQ(file.find("none")->bytes.size(), 0U);
  EXPECT_EQ(file.find("some")->bytes.size(), 8U);
  EXPECT_THAT(file.find("no columns")->shape, ElementsAre(3, 0));
}

TEST(Gguf, ATensorWithoutDimensionsIsOneNumber) {
  const std::string bytes = GgufMaker().f32_tensor("scalar", {}, {2.5f}).build();
  const GgufFile file = parse(bytes);
  EXPECT_TRUE(file.find("scalar")->shape.empty());
  EXPECT_EQ(file.find("scalar")->bytes.size(), 4u);
}

TEST(Gguf, AnotherAlignmentIsFollowed) {
  GgufMaker maker;
  maker.alignment = 256;
  maker.u32("general.alignment", 256).f32_tensor("a", {1}, {1}).f32_tensor("b", {1}, {2});
  const std::string bytes = maker.build();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.find("b")->bytes.data() - file.find("a")->bytes.data(), 256);
}

std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(CACHALOT_SOURCE_DIR) / "tests/goldens/gguf" / name;
}

TEST(Gguf, BlocksWrittenByGgufPyDequantizeToItsValuesBitForBit) {
  const GgufFile file = GgufFile::parse(MappedFile(golden("blocks.gguf")));
  const SafetensorsFile values = SafetensorsFile::parse(MappedFile(golden("blocks.safetensors")));
  ASSERT_GE(values.tensors().size(), 14u);
  EXPECT_EQ(file.tensors().size(), values.tensors().size());
  for (const SafetensorsEntry& want : values.tensors()) {
    SCOPED_TRACE(want.name);
    const GgufTensor* stored = file.find(want.name);
    ASSERT_NE(stored, nullptr);
    EXPECT_EQ(stored->shape, want.shape);
    std::vector<float> got(want.bytes.size() / 4), expected(got.size());
    dequantize(stored->dtype, stored->bytes, got);
    std::memcpy(expected.data(), want.bytes.data(), want.bytes.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (got[i] == 0 && expected[i] == 0) continue;  // numpy and we may give zeros of either sign
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected[i])) << "element " << i;
    }
  }
}

}  // namespace
}  // namespace cachalot
