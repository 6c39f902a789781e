#include "formats/stored_tensor.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "base/quote.h"
#include "tensor/quant_blocks.h"

namespace cachalot {

int64_t StoredTensor::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

std::span<const std::byte> StoredTensor::row(int64_t r) const {
  CHECK(r >= 0 && r < rows(), "row {} of {}", r, rows());
  const auto size = static_cast<size_t>(row_bytes(dtype, columns()));
  return bytes.subspan(static_cast<size_t>(r) * size, size);
}

StoredTensor StoredTensor::rows_part(int64_t begin, int64_t end) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows [{}, {}) of {}", begin, end, rows());
  StoredTensor part = *this;
  const auto size = static_cast<size_t>(row_bytes(dtype, columns()));
  part.shape = {end - begin, columns()};
  part.bytes = bytes.subspan(static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size);
  part.first_row += begin;
  if (part.scales) part.scales->first_row += begin;
  return part;
}

StoredTensor StoredTensor::components(int64_t begin, int64_t end) const {
  CHECK(shape.size() == 1 && 0 <= begin && begin <= end && end <= shape[0]);
  if (dtype != DType::f32 && dtype != DType::f16 && dtype != DType::bf16)
    throw Error(fmt::format("vector '{}' is stored as {}", name, type_name()))
        .in(file ? file->path().string() : "")
        .because("parts of it are needed, so f32, f16 or bf16 was expected");
  StoredTensor part = *this;
  const auto size = static_cast<size_t>(row_bytes(dtype, 1));
  part.shape = {end - begin};
  part.bytes = bytes.subspan(static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size);
  return part;
}

void StoredTensor::read_rows(int64_t begin, int64_t end, float* out) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows [{}, {}) of {}", begin, end, rows());
  const auto width = static_cast<size_t>(columns());
  std::vector<float> factors(scales && begin < end ? static_cast<size_t>(scales->grid_columns) : 0);
  for (int64_t r = begin; r < end; ++r, out += width) {
    dequantize(dtype, row(r), {out, width});
    if (!scales) continue;
    scales->read_row(r, factors);
    for (size_t c = 0; c < width; ++c) out[c] *= factors[c / static_cast<size_t>(scales->block_columns)];
  }
}

void BlockScales::read_row(int64_t r, std::span<float> out) const {
  const int64_t matrix = (first_row + r) / matrix_rows, row = (first_row + r) % matrix_rows;
  const auto size = static_cast<size_t>(row_bytes(dtype, grid_columns));
  dequantize(dtype, bytes.subspan(static_cast<size_t>(matrix * grid_rows + row / block_rows) * size, size), out);
}

static constexpr float kLargestFactor = std::numeric_limits<float>::max() / 448;  // 448: the largest code

void StoredTensor::check_rows(int64_t begin, int64_t end) const {
  if (!scales || begin >= end) return;
  const auto problem = [&](int64_t r, std::string_view what) {
    return Error(fmt::format("row {} of tensor {} {}", r + scales->first_row, quote(name), what))
        .in(file ? file->path().string() : "")
        .hint("the file is corrupt; download it again");
  };
  std::vector<float> factors(static_cast<size_t>(scales->grid_columns));
  for (int64_t r = begin; r < end; ++r) {
    const auto codes = row(r);
    bool nan = false;  // no early end, so that the compiler makes vectors of it
    for (const std::byte code : codes) nan |= (code & std::byte{0x7f}) == std::byte{0x7f};
    if (nan) throw problem(r, "holds a NaN");
    scales->read_row(r, factors);
    for (const float factor : factors)
      if (!(factor >= 0 && factor <= kLargestFactor)) throw problem(r, fmt::format("has the factor {}", factor));
  }
}

void StoredTensor::release_rows(int64_t begin, int64_t end) const {
  if (!file || copy) return;
  if (begin == 0 && end == rows()) return file->release(bytes);  // of an opaque type, too, whose rows have no size
  const auto size = static_cast<size_t>(row_bytes(dtype, columns()));
  file->release(bytes.subspan(static_cast<size_t>(begin) * size, static_cast<size_t>(end - begin) * size));
}

int64_t StoredTensor::stored_bytes() const {
  return static_cast<int64_t>(bytes.size() + (scales ? scales->bytes.size() : 0));
}

}  // namespace cachalot
