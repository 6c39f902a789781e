// Block-wise FP8 checkpoints: goldens by PyTorch, and everything that may be wrong with one.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cmath>

#include "formats/checkpoint.h"
#include "formats/made_files.h"
#include "formats/safetensors/file.h"
#include "tensor/quant_blocks.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

fs::path goldens() { return fs::path(CACHALOT_SOURCE_DIR) / "tests/goldens/fp8"; }

std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<float> rows_of(const StoredTensor& tensor, int64_t begin, int64_t end) {
  std::vector<float> values(static_cast<size_t>((end - begin) * tensor.columns()));
  tensor.read_rows(begin, end, values.data());
  return values;
}

TEST(Fp8Goldens, EveryCodeIsTheNumberThatPyTorchReads) {
  const auto file = SafetensorsFile::parse(MappedFile(goldens() / "codes.safetensors"));
  const auto want = floats(file.find("values")->bytes);
  std::vector<std::byte> codes(256);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::byte>(i);
  std::vector<float> got(codes.size());
  dequantize(DType::f8_e4m3, codes, got);
  for (size_t i = 0; i < codes.size(); ++i) {
    EXPECT_EQ(std::isnan(got[i]), std::isnan(want[i])) << i;
    if (!std::isnan(want[i])) { EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i])) << i; }
  }
}

TEST(Fp8Goldens, RowsOfMatricesAndStacksAreCodesTimesFactorsBitForBit) {
  const Checkpoint checkpoint = Checkpoint::open(goldens() / "blocks");
  const auto wanted = SafetensorsFile::parse(MappedFile(goldens() / "dequantized.safetensors"));
  ASSERT_EQ(checkpoint.tensors().size(), wanted.tensors().size()) << "factors are no tensors of their own";
  int64_t bytes = 0;
  for (const SafetensorsEntry& want : wanted.tensors()) {
    SCOPED_TRACE(want.name);
    const StoredTensor* tensor = checkpoint.find(want.name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->shape, want.shape);
    EXPECT_EQ(tensor->scales.has_value(), want.name != "plain.weight");
    if (tensor->scales) { EXPECT_NE(tensor->scales->file, tensor->file) << "the factors are in the other shard"; }
    tensor->check_rows(0, tensor->rows());
    EXPECT_EQ(rows_of(*tensor, 0, tensor->rows()), floats(want.bytes));
    bytes += tensor->stored_bytes();
    checkpoint.release(*tensor);
  }
  EXPECT_EQ(checkpoint.find("a.weight_scale_inv"), nullptr);
  EXPECT_EQ(checkpoint.tensor_bytes(), bytes);
  EXPECT_EQ(checkpoint.find("a.weight")->stored_bytes(), 130 * 140 + 2 * 2 * 4);
}

TEST(Fp8Goldens, APartOfTheRowsKeepsItsFactors) {
  const Checkpoint checkpoint = Checkpoint::open(goldens() / "blocks");
  for (const char* name : {"a.weight", "experts"}) {
    const StoredTensor& whole = *checkpoint.find(name);
    for (const int64_t begin : {0, 1, 127, 128, 129})
      for (const int64_t end : {begin, begin + 1, whole.rows()}) {
        SCOPED_TRACE(fmt::format("{} [{}, {})", name, begin, end));
        const StoredTensor part = whole.rows_part(begin, end);
        part.check_rows(0, part.rows());
        EXPECT_EQ(rows_of(part, 0, part.rows()), rows_of(whole, begin, end));
      }
    const StoredTensor part = whole.rows_part(100, 130).rows_part(20, 30);
    EXPECT_EQ(rows_of(part, 0, 10), rows_of(whole, 120, 130)) << "a part of a part";
  }
}

// --- what may be wrong ---

constexpr const char* kPublished =
    R"({"quant_method":"fp8","fmt":"e4m3","weight_block_size":[128,128],"activation_scheme":"dynamic"})";

struct Part {
  std::string name, dtype;
  std::vector<int> shape;
  std::string bytes;
};

std::string file_of(const std::vector<Part>& parts) {
  std::string header, data;
  for (const Part& p : parts) {
    header +=
        fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", header.empty() ? "{" : ",",
                    p.name, p.dtype, fmt::join(p.shape, ","), data.size(), data.size() + p.bytes.size());
    data += p.bytes;
  }
  return safetensors_file(header + "}", data);
}

class Fp8Folder : public ::testing::Test {
 protected:
  void SetUp() override { write(kPublished, {weight_, scale_}); }
  void write(const std::string& quantization, const std::vector<Part>& parts) {
    folder_.write("config.json", quantization.empty() ? "{}" : R"({"quantization_config":)" + quantization + "}");
    folder_.write("model.safetensors", file_of(parts));
  }
  Checkpoint open() const { return Checkpoint::open(folder_.path()); }
  std::string refusal(const std::string& quantization, const std::vector<Part>& parts) {
    write(quantization, parts);
    return message_of([&] { open(); });
  }
  std::string refusal(const std::string& quantization) { return refusal(quantization, {weight_, scale_}); }

  TemporaryFolder folder_;
  const Part weight_{"x.weight", "F8_E4M3", {2, 130}, std::string(260, '\x38')};  // ones
  const Part scale_{"x.weight_scale_inv", "F32", {1, 2}, raw(0.5f) + raw(2.0f)};
};

TEST_F(Fp8Folder, IsReadInOneFileToo) {
  const Checkpoint checkpoint = open();
  const auto row = rows_of(*checkpoint.find("x.weight"), 1, 2);
  EXPECT_THAT(std::vector<float>(row.begin() + 126, row.end()), ElementsAre(0.5f, 0.5f, 2.0f, 2.0f));
}

TEST_F(Fp8Folder, ActivationScalesOfEitherFormatAndListsOfModulesChangeNothing) {
  for (const char* scale_fmt : {"float", "ue8m0"}) {
    std::string config = kPublished;
    config.pop_back();
    write(fmt::format(R"({},"scale_fmt":"{}","modules_to_not_convert":["lm_head"]}})", config, scale_fmt),
          {weight_, scale_});
    EXPECT_EQ(rows_of(*open().find("x.weight"), 0, 1)[129], 2.0f);
  }
}

TEST_F(Fp8Folder, OtherFp8IsRefusedByName) {
  EXPECT_THAT(refusal(R"({"quant_method":"fp8","fmt":"e5m2","weight_block_size":[128,128]})"),
              HasSubstr("FP8 weights with fmt = 'e5m2' are not read"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8","activation_scheme":"static","weight_block_size":[128,128]})"),
              HasSubstr("FP8 weights with activation_scheme = 'static' are not read"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8","scale_fmt":"e9","weight_block_size":[128,128]})"),
              HasSubstr("scale_fmt = 'e9'"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8"})"), HasSubstr("FP8 weights with one factor per tensor are not read"));
  EXPECT_THAT(refusal(R"({"quant_method":"fp8"})"), HasSubstr("hint: use the unquantized checkpoint"));
  EXPECT_THAT(refusal(kPublished, {{"x.weight", "F8_E5M2", {2, 130}, std::string(260, '\x38')}, scale_}),
              HasSubstr("tensor 'x.weight' is of type f8_e5m2, which is not read"));
}

TEST_F(Fp8Folder, SizesOfBlocksThatCannotBeAreRefused) {
  const auto with = [&](const std::string& size) {
    return refusal(R"({"quant_method":"fp8","weight_block_size":)" + size + "}");
  };
  for (const char* size : {"[0, 128]", "[128, 0]", "[-128, 128]", "[128, -128]", "[128, 64]", "[128, 1048704]",
                           "[2097152, 128]", "[128]", "[]", "[128, 128, 128]", "128"})
    EXPECT_THAT(with(size), HasSubstr("weight_block_size = [")) << size;
  EXPECT_THAT(with("[128, 64]"),
              HasSubstr("[rows, columns] is expected, at most 1048576, columns a multiple of 128"));
  EXPECT_THAT(with("[128, 1e300]"), HasSubstr("weight_block_size[1] = 1e+300"));
  EXPECT_THAT(with(R"(["a", "b"])"), HasSubstr("weight_block_size[0] = "));
}

TEST_F(Fp8Folder, FactorsThatAreMissingOrOfAnotherShapeOrTypeAreNamed) {
  EXPECT_THAT(refusal(kPublished, {weight_}), HasSubstr("tensor 'x.weight' has no factors"));
  EXPECT_THAT(refusal(kPublished, {weight_}), HasSubstr("no file holds 'x.weight_scale_inv'"));
  EXPECT_THAT(refusal(kPublished, {weight_, {scale_.name, "F32", {2, 1}, scale_.bytes}}),
              HasSubstr("tensor 'x.weight_scale_inv' has shape [2, 1], but [1, 2] was expected"));
  EXPECT_THAT(refusal(kPublished, {weight_, {scale_.name, "F32", {2, 1}, scale_.bytes}}),
              HasSubstr("because: 'x.weight' is [2, 130] in blocks of 128 x 128"));
  EXPECT_THAT(refusal(kPublished, {weight_, {scale_.name, "F32", {2}, scale_.bytes}}),
              HasSubstr("has shape [2], but"));
  EXPECT_THAT(refusal(kPublished, {weight_, {scale_.name, "I32", {1, 2}, scale_.bytes}}),
              HasSubstr("has dtype i32, but f32, bf16 or f16 was expected"));
  EXPECT_THAT(refusal(kPublished, {weight_, {scale_.name, "F8_E4M3", {1, 2}, "11"}}),
              HasSubstr("has dtype f8_e4m3, but"));
  EXPECT_THAT(
      refusal(kPublished, {{"x.weight", "F8_E4M3", {3}, "111"}, {"x.weight_scale_inv", "F32", {1}, raw(1.f)}}),
      HasSubstr("tensor 'x.weight' is of type f8_e4m3, but no matrix"));
}

TEST_F(Fp8Folder, WithoutAQuantizationInTheConfigurationIsRefused) {
  EXPECT_THAT(refusal("", {weight_, scale_}), HasSubstr("nothing says what its numbers are multiplied by"));
  EXPECT_THAT(refusal("", {weight_, scale_}), HasSubstr("config.json has no quantization_config"));
}

TEST_F(Fp8Folder, AMatrixWithoutRowsTakesNoMemoryHoweverWideItIs) {
  folder_.write("config.json", fmt::format(R"({{"quantization_config":{}}})", kPublished));
  folder_.write(
      "model.safetensors",
      safetensors_file(R"({"x":{"dtype":"F8_E4M3","shape":[0,9223372036854775807],"data_offsets":[0,0]},)"
                       R"("x_scale_inv":{"dtype":"F32","shape":[0,72057594037927936],"data_offsets":[0,0]}})",
                       ""));
  const Checkpoint checkpoint = open();
  checkpoint.find("x")->read_rows(0, 0, nullptr);
  checkpoint.find("x")->check_rows(0, 0);
}

TEST_F(Fp8Folder, FactorsWithoutFp8WeightsStayTensorsOfTheirOwn) {
  write(kPublished, {{"x.weight", "BF16", {2, 1}, "1111"}, {"x.weight_scale_inv", "F32", {1}, raw(1.f)}});
  EXPECT_NE(open().find("x.weight_scale_inv"), nullptr) << "so binding says that nothing uses it";
}

TEST_F(Fp8Folder, RowsThatAreNoNumbersAreFoundWhenTheyAreChecked) {
  const auto checked = [&](const Part& weight, const Part& scale) {
    write(kPublished, {weight, scale});
    const Checkpoint checkpoint = open();
    const StoredTensor whole = *checkpoint.find("x.weight");
    whole.check_rows(0, 1);
    return message_of([&] { whole.rows_part(1, 2).check_rows(0, 1); });
  };
  for (const char code : {'\x7f', '\xff'}) {
    Part weight = weight_;
    weight.bytes[259] = code;
    EXPECT_THAT(checked(weight, scale_), HasSubstr("row 1 of tensor 'x.weight' holds a NaN"));
  }
  const Part tall{"x.weight", "F8_E4M3", {2, 128}, std::string(256, '\x38')};
  for (const float factor : {NAN, INFINITY, -1.0f, -INFINITY, 1e38f}) {
    write(R"({"quant_method":"fp8","weight_block_size":[1,128]})",
          {tall, {scale_.name, "F32", {2, 1}, raw(1.0f) + raw(factor)}});
    const Checkpoint checkpoint = open();
    checkpoint.find("x.weight")->check_rows(0, 1);
    EXPECT_THAT(message_of([&] { checkpoint.find("x.weight")->check_rows(0, 2); }),
                HasSubstr(fmt::format("row 1 of tensor 'x.weight' has the factor {}", factor)));
  }
  write(kPublished, {weight_, {scale_.name, "F32", {1, 2}, raw(0.0f) + raw(7e35f)}});
  const Checkpoint checkpoint = open();
  checkpoint.find("x.weight")->check_rows(0, 2);
}

}  // namespace
}  // namespace cachalot
