#include "formats/safetensors/file.h"

#include <gmock/gmock.h>

#include "formats/made_files.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SafetensorsFile parse(const std::string& bytes) { return SafetensorsFile::parse(as_bytes(bytes), "x.safetensors"); }

std::string refusal(const std::string& bytes) {
  return message_of([&] { parse(bytes); });
}

std::string small_file() {
  return safetensors_file(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
      R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"none":{"dtype":"I64","shape":[0,5],"data_offsets":[16,16]}}  )",
      std::string(22, '\1'));
}

TEST(Safetensors, GivesTensorsInTheOrderOfTheirBytes) {
  const std::string bytes = small_file();
  const SafetensorsFile file = parse(bytes);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "none");
  EXPECT_EQ(file.tensors()[2].name, "b");
  const auto* a = file.find("a");
  EXPECT_EQ(a->dtype, DType::f32);
  EXPECT_THAT(a->shape, ElementsAre(2, 2));
  EXPECT_EQ(a->bytes.size(), 16u);
  EXPECT_EQ(file.find("b")->bytes.size(), 6u);
  EXPECT_EQ(file.find("none")->bytes.size(), 0u);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, AHeaderWithoutTensorsIsAnEmptyFile) {
  EXPECT_TRUE(parse(safetensors_file("{}", "")).tensors().empty());
  EXPECT_TRUE(parse(safetensors_file(R"({"__metadata__":null})", "")).tensors().empty());
}

TEST(Safetensors, AScalarHasOneElement) {
  const std::string bytes = safetensors_file(R"({"s":{"dtype":"F8_E4M3","shape":[],"data_offsets":[0,1]}})", "x");
  EXPECT_EQ(parse(bytes).find("s")->bytes.size(), 1u);
}

TEST(Safetensors, ATypeThatIsNotKnownIsOpaqueAndTheOthersAreRead) {
  const std::string bytes = safetensors_file(
      R"({"codes":{"dtype":"U32","shape":[3],"data_offsets":[0,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})",
      std::string(16, '\1'));
  const SafetensorsFile file = parse(bytes);
  EXPECT_EQ(file.find("codes")->dtype, DType::opaque);
  EXPECT_EQ(file.find("codes")->other_type, "U32");
  EXPECT_EQ(file.find("codes")->bytes.size(), 12u);
  EXPECT_EQ(file.find("a")->dtype, DType::f32);
  EXPECT_EQ(file.find("a")->other_type, "");
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = small_file();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
    EXPECT_THROW(SafetensorsFile::parse(std::as_bytes(std::span(cut)), "cut"), Error)
        << size << " of " << bytes.size();
  }
}

TEST(Safetensors, EveryFlippedByteIsReadOrRefusedButNeverCrashes) {
  const std::string bytes = small_file();
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int flip = 1; flip < 256; flip <<= 1) {
      std::string wrong = bytes;
      wrong[i] = static_cast<char>(wrong[i] ^ flip);
      try {
        parse(wrong);
      } catch (const Error&) {}
    }
}

// One tensor "t" of two F32 in eight bytes of data, with its entry replaced.
std::string with_entry(const std::string& entry, size_t data_bytes = 8) {
  return safetensors_file("{\"t\":" + entry + "}", std::string(data_bytes, '\0'));
}

struct Hostile {
  const char* what;
  std::string bytes;
  const char* message;
};

const std::vector<Hostile> kHostile = {
    {"an empty file", "", "not a safetensors file"},
    {"a header of 2^64 - 1 bytes", raw<uint64_t>(~0ull) + "{}", "the header is said to be"},
    {"a header of 100,000,001 bytes", raw<uint64_t>(100'000'001) + "{}", "at most 100000000"},
    {"a header longer than the file", raw<uint64_t>(3) + "{}", "the header is 3 bytes long, but only 2 follow"},
    {"no header at all", raw<uint64_t>(0), "does not start with {"},
    {"a list", safetensors_file("[]", ""), "does not start with {"},
    {"no JSON", safetensors_file("{\"a\":", ""), "not valid JSON"},
    {"text after the header", safetensors_file("{} x", ""), "not valid JSON"},
    {"a NUL in the header", safetensors_file(std::string("{}\0", 3), ""), "not valid JSON"},
    {"invalid UTF-8", safetensors_file("{\"\xff\":{}}", ""), "not valid JSON"},
    {"deep nesting", safetensors_file("{\"a\":" + std::string(1 << 20, '['), ""),
     "has a list where the format has none"},
    {"deep objects", safetensors_file("{\"a\":{\"dtype\":{\"dtype\":{", ""),
     "has an object where the format has none"},
    {"no dtype", with_entry(R"({"shape":[2],"data_offsets":[0,8]})"), "lacks dtype"},
    {"no shape", with_entry(R"({"dtype":"F32","data_offsets":[0,8]})"), "lacks dtype"},
    {"no offsets", with_entry(R"({"dtype":"F32","shape":[2]})"), "lacks dtype"},
    {"more elements of an unknown dtype than bits", with_entry(R"({"dtype":"F4","shape":[65],"data_offsets":[0,8]})"),
     "of shape [65] and dtype F4 does not have the bytes"},
    {"an unknown dtype twice", with_entry(R"({"dtype":"F4","dtype":"F4","shape":[2],"data_offsets":[0,8]})"),
     "two fields"},
    {"a dtype twice", with_entry(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), "two fields"},
    {"a shape twice", with_entry(R"({"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]})"), "two fields"},
    {"an unknown field", with_entry(R"({"dtype":"F32","shape":[2],"strides":[1],"data_offsets":[0,8]})"),
     "unknown field"},
    {"a negative dimension", with_entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), "a negative number"},
    {"a fraction", with_entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), "a fraction"},
    {"a dimension of 2^64 - 1", with_entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"),
     "so large a number"},
    {"a text as dimension", with_entry(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), "a text where"},
    {"true as shape", with_entry(R"({"dtype":"F32","shape":true,"data_offsets":[0,8]})"), "true or false"},
    {"null as dtype", with_entry(R"({"dtype":null,"shape":[2],"data_offsets":[0,8]})"), "has null where"},
    {"a list as dtype", with_entry(R"({"dtype":["F32"],"shape":[2],"data_offsets":[0,8]})"), "a list where"},
    {"a list in a shape", with_entry(R"({"dtype":"F32","shape":[[2]],"data_offsets":[0,8]})"), "a list where"},
    {"a number as tensor", safetensors_file(R"({"t":3})", ""), "a number where"},
    {"nine dimensions", with_entry(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"),
     "more than 8 dimensions"},
    {"one offset", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), "a list of that length"},
    {"three offsets", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})"), "a number where"},
    {"a size that overflows", with_entry(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]})"),
     "does not have the bytes"},
    {"fewer bytes than the shape", with_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
     "of shape [3] and dtype f32 does not have the bytes"},
    {"an end before the beginning", with_entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
     "ends before it begins"},
    {"an end beyond the file", with_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})"), "beyond the end"},
    {"offsets of 2^64 - 1",
     with_entry(R"({"dtype":"F32","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]})"),
     "beyond the end"},
    {"a hole at the start", with_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), "leaves a hole"},
    {"bytes left over", with_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "belong to no tensor"},
    {"an overlap",
     safetensors_file(
         R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
         std::string(12, '\0')),
     "tensor 'b' overlaps the one before it"},
    {"a hole in the middle",
     safetensors_file(
         R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
         std::string(12, '\0')),
     "tensor 'b' leaves a hole before it"},
    {"a tensor twice",
     safetensors_file(
         R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
         std::string(8, '\0')),
     "'a' appears twice"},
    {"a number in the metadata", safetensors_file(R"({"__metadata__":{"a":1}})", ""), "a number where"},
};

TEST(Safetensors, HostileFilesAreRefusedWithAReason) {
  for (const Hostile& hostile : kHostile) {
    SCOPED_TRACE(hostile.what);
    const std::string message = refusal(hostile.bytes);
    EXPECT_THAT(message, HasSubstr(hostile.message));
    EXPECT_THAT(message, HasSubstr("in x.safetensors: "));
  }
}

TEST(Safetensors, ControlCharactersOfANameAreShownAndNotPrinted) {
  const std::string message = refusal(safetensors_file("{\"\\u001b[31m\":{}}", ""));
  EXPECT_THAT(message, HasSubstr("\\x1b[31m"));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

// --- folders ---

TEST(SafetensorsFolder, PrefersTheSingleFileOverAnIndex) {
  TemporaryFolder folder;
  folder.write("model.safetensors", "");
  folder.write("model.safetensors.index.json", "broken");
  EXPECT_THAT(find_safetensors(folder.path()).files, ElementsAre(folder.path() / "model.safetensors"));
}

TEST(SafetensorsFolder, TakesTheOnlyFileWhateverItsName) {
  TemporaryFolder folder;
  folder.write("weights.safetensors", "");
  EXPECT_THAT(find_safetensors(folder.path()).files, ElementsAre(folder.path() / "weights.safetensors"));
}

TEST(SafetensorsFolder, FollowsTheIndex) {
  TemporaryFolder folder;
  folder.write("model-00002-of-00002.safetensors", "");
  folder.write("model-00001-of-00002.safetensors", "");
  folder.write("model.safetensors.index.json",
               R"({"weight_map":{"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors"}})");
  const auto found = find_safetensors(folder.path());
  EXPECT_THAT(found.files, ElementsAre(folder.path() / "model-00001-of-00002.safetensors",
                                       folder.path() / "model-00002-of-00002.safetensors"));
  EXPECT_EQ(found.file_of_tensor.at("a"), "model-00002-of-00002.safetensors");
}

TEST(SafetensorsFolder, AnIndexThatPointsElsewhereIsRefused) {
  TemporaryFolder folder;
  for (const std::string name :
       {"../x.safetensors", "/etc/x.safetensors", "a\\\\b.safetensors", "config.json", "a\\u0000/.safetensors", ""}) {
    folder.write("model.safetensors.index.json", R"({"weight_map":{"a":")" + name + "\"}}");
    EXPECT_THAT(message_of([&] { find_safetensors(folder.path()); }), HasSubstr("in the same folder is expected"))
        << name;
  }
}

TEST(SafetensorsFolder, AMalformedIndexIsRefused) {
  TemporaryFolder folder;
  const auto refusal_of = [&](const std::string& index) {
    folder.write("model.safetensors.index.json", index);
    return message_of([&] { find_safetensors(folder.path()); });
  };
  EXPECT_THAT(refusal_of("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of("[]"), HasSubstr("no object 'weight_map'"));
  EXPECT_THAT(refusal_of(R"({"weight_map":[]})"), HasSubstr("no object 'weight_map'"));
  EXPECT_THAT(refusal_of(R"({"weight_map":{}})"), HasSubstr("names no tensor"));
  EXPECT_THAT(refusal_of(R"({"weight_map":{"a":1}})"), HasSubstr("'a' has no file name"));
  EXPECT_THAT(refusal_of(R"({"weight_map":{"a":"gone.safetensors"}})"),
              HasSubstr("the shard 'gone.safetensors' is missing"));
  EXPECT_THAT(refusal_of(std::string(100, '[')), HasSubstr("nested more than 64 deep"));
}

TEST(SafetensorsFolder, SaysWhatIsThereInsteadOfWeights) {
  const auto refusal_of = [](const std::vector<std::string>& names) {
    TemporaryFolder folder;
    for (const auto& name : names) folder.write(name, "");
    return message_of([&] { find_safetensors(folder.path()); });
  };
  EXPECT_THAT(refusal_of({}), HasSubstr("there are no *.safetensors files"));
  EXPECT_THAT(refusal_of({"pytorch_model-00001-of-00002.bin"}), HasSubstr("PyTorch pickle"));
  EXPECT_THAT(refusal_of({"pytorch_model.bin"}), HasSubstr("save_pretrained"));
  EXPECT_THAT(refusal_of({"consolidated.00.pth"}), HasSubstr("PyTorch pickle"));
  EXPECT_THAT(refusal_of({"model.gguf"}), HasSubstr("give the file itself"));
  EXPECT_THAT(refusal_of({"a.safetensors", "b.safetensors"}), HasSubstr("2 *.safetensors files, but no"));
  EXPECT_THAT(message_of([] { find_safetensors("/nonexistent"); }), HasSubstr("cannot list the folder"));
}

}  // namespace
}  // namespace cachalot
