// Rows of heads whose halves alternate in GGUF, in the model's order.
#include "model/row_order.h"

#include <gmock/gmock.h>

#include <cstring>

#include "formats/checkpoint.h"
#include "formats/made_files.h"
#include "support/kernels.h"
#include "tensor/quant_blocks.h"
#include "tensor/quant_encode.h"

namespace cachalot {
namespace {

using ::testing::ElementsAre;

std::vector<float> numbers_of(const StoredTensor& tensor) {
  std::vector<float> numbers(static_cast<size_t>(tensor.elements()));
  tensor.read_rows(0, tensor.rows(), numbers.data());
  return numbers;
}

// The numbers 0, 1, 2 … as file rows of one number, or as a vector.
StoredTensor counting(const std::vector<float>& numbers, bool vector) {
  const auto count = static_cast<int64_t>(numbers.size());
  return {.name = "q",
          .dtype = DType::f32,
          .shape = vector ? std::vector<int64_t>{count} : std::vector<int64_t>{count, 1},
          .bytes = std::as_bytes(std::span(numbers))};
}

TEST(RowOrder, RowTwoIOfAHeadIsTheModelsIAndTheNextOneIsOfTheOtherHalf) {
  const std::vector<float> numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (const bool vector : {false, true}) {
    EXPECT_THAT(numbers_of(in_model_order(counting(numbers, vector), 2)),
                ElementsAre(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    EXPECT_THAT(numbers_of(in_model_order(counting(numbers, vector), 1)),
                ElementsAre(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  }
  EXPECT_DEATH(in_model_order(counting(numbers, false), 3), "16 rows are no 3 heads of an even number each");
}

TEST(RowOrder, BothDirectionsUndoEachOther) {
  for (const int heads : {1, 3, 4})
    for (const int64_t rows : {int64_t{24}, int64_t{48}})
      for (int64_t r = 0; r < rows; ++r) EXPECT_EQ(model_row(stored_row(r, rows, heads), rows, heads), r);
}

TEST(RowOrder, WholeRowsOfBlocksMoveAndNothingIsEncodedAnew) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16, DType::q8_0, DType::q4_0, DType::q4_k, DType::q6_k}) {
    SCOPED_TRACE(name(type));
    std::vector<std::byte> bytes(static_cast<size_t>(150 * row_bytes(type, 512)));
    quantize(type, random_normal(150 * 512, 3), {}, bytes);
    const StoredTensor stored = {.name = "q", .dtype = type, .shape = {150, 512}, .bytes = bytes};
    const StoredTensor ordered = in_model_order(stored, 3);
    EXPECT_EQ(ordered.dtype, type);
    for (int64_t r = 0; r < 150; ++r) {
      const auto want = stored.row(stored_row(r, 150, 3)), got = ordered.row(r);
      ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size()), 0) << r;
    }
  }
}

TEST(RowOrder, ComponentsOfAQuantizedVectorAreMovedAsNumbers) {
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(DType::q8_0, 64)));
  quantize(DType::q8_0, random_normal(64, 3), {}, bytes);
  const StoredTensor stored = {.name = "b", .dtype = DType::q8_0, .shape = {64}, .bytes = bytes};
  const auto file = numbers_of(stored), model = numbers_of(in_model_order(stored, 2));
  for (int64_t i = 0; i < 64; ++i)
    EXPECT_EQ(model[static_cast<size_t>(i)], file[static_cast<size_t>(stored_row(i, 64, 2))]);
}

// Giving back the pages of a copy would empty it.
TEST(RowOrder, ACopyOutlivesWhatItWasMadeOfAndKeepsItsBytesWhenTheFileTakesItsPagesBack) {
  TemporaryFolder folder;
  const MappedFile file(folder.write("q", std::string(1 << 20, 'x')));
  const StoredTensor stored = {
      .name = "q", .dtype = DType::f32, .shape = {512, 512}, .bytes = file.bytes(), .file = &file};
  const StoredTensor ordered = in_model_order(stored, 4);
  Checkpoint::release(ordered);
  ordered.release_rows(0, 256);
  EXPECT_EQ(ordered.file, &file) << "which messages name";
  EXPECT_NE(ordered.bytes.data(), stored.bytes.data());
  EXPECT_EQ(ordered.bytes[0], std::byte{'x'});
  EXPECT_EQ(ordered.bytes[ordered.bytes.size() - 1], std::byte{'x'});
}

}  // namespace
}  // namespace cachalot
