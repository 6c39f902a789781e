// A view of numbers in the memory of some Ops: type, shape, strides. Passed by value; never owns (the step's Arena
// does). Only that Ops may follow its pointers; everybody else reads through Ops::read. Names carry shape suffixes,
// x_TD: the letters are listed in docs/tensors.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "base/check.h"
#include "tensor/dtype.h"

namespace cachalot {

struct Tensor {
  static constexpr int kMaxRank = 4;

  void* memory = nullptr;
  DType dtype = DType::f32;  // or i32
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};  // in elements; the last one is always 1

  int64_t dim(int i) const { return shape[static_cast<size_t>(i < 0 ? rank + i : i)]; }
  int64_t last() const { return dim(-1); }
  // Rows are everything but the last dimension: [T, H, K] has T * H of them.
  int64_t rows() const {
    int64_t rows = 1;
    for (int i = 0; i + 1 < rank; ++i) rows *= shape[static_cast<size_t>(i)];
    return rows;
  }
  int64_t elements() const { return rank == 0 ? 0 : rows() * last(); }
  bool contiguous() const {
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (stride[static_cast<size_t>(i)] != expected) return false;
      expected *= shape[static_cast<size_t>(i)];
    }
    return true;
  }
  // Elements between the first one and the start of row r, counted over all leading dimensions.
  int64_t row_offset(int64_t r) const {
    int64_t offset = 0;
    for (int i = rank - 2; i >= 0; --i) {
      const auto d = static_cast<size_t>(i);
      offset += r % shape[d] * stride[d];
      r /= shape[d];
    }
    return offset;
  }

  // For the Ops whose memory this is.
  float* data() const {
    DCHECK(dtype == DType::f32);
    return static_cast<float*>(memory);
  }
  float* row(int64_t r) const { return data() + row_offset(r); }
  int32_t* ids(int64_t r) const {  // row r of i32
    DCHECK(dtype == DType::i32);
    return static_cast<int32_t*>(memory) + row_offset(r);
  }

  // [.., H * K] as [.., H, K].
  Tensor split_heads(int64_t heads) const {
    CHECK(rank < kMaxRank && heads > 0 && last() % heads == 0, "{} columns into {} heads", last(), heads);
    Tensor t = *this;
    const auto d = static_cast<size_t>(rank - 1);
    t.rank = rank + 1;
    t.shape[d] = heads;
    t.shape[d + 1] = last() / heads;
    t.stride[d] = t.shape[d + 1];
    t.stride[d + 1] = 1;
    return t;
  }
  // [.., H, K] as [.., H * K].
  Tensor merge_heads() const {
    const auto d = static_cast<size_t>(rank - 2);
    CHECK(rank >= 2 && stride[d] == shape[d + 1], "heads are not adjacent in memory");
    Tensor t = *this;
    t.rank = rank - 1;
    t.shape[d] *= shape[d + 1];
    t.stride[d] = 1;
    return t;
  }
  // [T, A] as [T * A, 1], of adjacent rows.
  Tensor as_column() const {
    CHECK(contiguous());
    Tensor t = *this;
    t.rank = 2;
    t.shape = {elements(), 1};
    t.stride = {1, 1};
    return t;
  }
  // [.., A + B] as views [.., A] and [.., B].
  std::pair<Tensor, Tensor> split_last(int64_t first) const {
    CHECK(rank >= 1 && first >= 0 && first <= last());
    Tensor a = *this, b = *this;
    const auto d = static_cast<size_t>(rank - 1);
    a.shape[d] = first;
    b.shape[d] = last() - first;
    b.memory = static_cast<std::byte*>(memory) + first * info(dtype).block_bytes;
    return {a, b};
  }
};

// A contiguous view of numbers at `memory`, f32 unless its dtype is set.
template <typename... Sizes>
Tensor tensor_view(void* memory, Sizes... sizes) {
  static_assert(sizeof...(sizes) >= 1 && sizeof...(sizes) <= Tensor::kMaxRank);
  Tensor t{.memory = memory, .rank = sizeof...(sizes), .shape = {static_cast<int64_t>(sizes)...}};
  int64_t stride = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    t.stride[static_cast<size_t>(i)] = stride;
    stride *= t.shape[static_cast<size_t>(i)];
  }
  return t;
}

std::string shape_text(const Tensor& tensor);  // "[3, 64]"

}  // namespace cachalot
