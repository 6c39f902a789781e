// Quantized matrices as CpuOps holds them, looks their rows up and multiplies them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/cpu/cpu_ops.h"
#include "ops/weight_types.h"
#include "support/kernels.h"
#include "tensor/quant_encode.h"

namespace cachalot {
namespace {

using testing::HasSubstr;

struct Stored {
  std::vector<std::byte> bytes;
  StoredTensor tensor;

  Stored(DType type, int64_t rows, int64_t columns) {
    bytes.resize(static_cast<size_t>(rows * row_bytes(type, columns)));
    quantize(type, random_normal(rows * columns, 3), {}, bytes);
    tensor = {.name = "w", .dtype = type, .shape = {rows, columns}, .bytes = bytes};
  }
  Stored(const Stored&) = delete;
  std::vector<float> numbers() const {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    tensor.read_rows(0, tensor.rows(), values.data());
    return values;
  }
};

std::vector<DType> quantized_types() {
  std::vector<DType> types;
  for (const DType type : weight_types())
    if (info(type).block_elements > 1) types.push_back(type);
  return types;
}

std::vector<float> looked_up(CpuOps& ops, const Weight& table, int64_t rows) {
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < rows; ++id) ids.push_back(id);
  const Tensor x = ops.embed(ids, table);
  return {x.data(), x.data() + x.elements()};
}

Tensor rows_of(CpuOps& ops, const std::vector<float>& x, int64_t rows) {
  const Tensor x_TD = ops.arena().tensor(rows, std::ssize(x) / rows);
  std::copy(x.begin(), x.end(), x_TD.data());
  return x_TD;
}

std::vector<float> numbers_of(const Tensor& y) { return {y.data(), y.data() + y.elements()}; }

std::vector<float> multiplied(CpuOps& ops, const Weight& w, const std::vector<float>& x, int64_t rows) {
  return numbers_of(ops.linear(rows_of(ops, x, rows), {w}));
}

TEST(QuantWeights, RowsThatAreLookedUpAreTheNumbersOfTheFile) {
  for (const KernelTable* kernels : usable_kernels())
    for (const DType type : quantized_types()) {
      SCOPED_TRACE(std::string(kernels->isa) + " " + std::string(name(type)));
      const Stored stored(type, 150, 512);
      CpuOps ops(*kernels, 2);
      EXPECT_EQ(looked_up(ops, ops.load_matrix({stored.tensor}, type), 150), stored.numbers());
    }
}

TEST(QuantWeights, NumbersAreQuantizedWhileTheyAreLoaded) {
  CpuOps ops(best_kernels(), 2);
  const auto numbers = random_normal(100 * 512, 4);
  const StoredTensor plain = {
      .name = "w", .dtype = DType::f32, .shape = {100, 512}, .bytes = std::as_bytes(std::span(numbers))};
  for (const DType type : quantized_types()) {
    std::vector<std::byte> bytes(static_cast<size_t>(100 * row_bytes(type, 512)));
    quantize(type, numbers, {}, bytes);
    std::vector<float> want(numbers.size());
    dequantize(type, bytes, want);
    EXPECT_EQ(looked_up(ops, ops.load_matrix({plain}, type), 100), want) << name(type);
  }
}

TEST(QuantWeights, ProductsAreThoseOfTheNumbersUpToTheRoundingOfInputs) {
  for (const DType type : quantized_types())
    for (const int64_t rows : {1, 40, 400}) {
      SCOPED_TRACE(std::string(name(type)) + " rows=" + std::to_string(rows));
      const Stored stored(type, 70, 512);
      CpuOps ops(best_kernels(), 2);
      const auto x = random_normal(rows * 512, 1), numbers = stored.numbers();
      const StoredTensor plain = {
          .name = "w", .dtype = DType::f32, .shape = {70, 512}, .bytes = std::as_bytes(std::span(numbers))};
      const auto want = multiplied(ops, ops.load_matrix({plain}, DType::f32), x, rows);
      const auto got = multiplied(ops, ops.load_matrix({stored.tensor}, type), x, rows);
      // An input is off by at most half of 1/127 of its group's largest, about 4 here; 512 such errors add up at
      // random.
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(got[i], want[i], 7 * 0.5 * 4 / 127 * 0.58 * std::sqrt(512.0));
    }
}

// A head of q8_0 sees its inputs without their rounding: what is left is of the rounding of a rest that is itself at
// most half of 1/127 of a group's largest.
TEST(Logits, OfEightBitsAreThoseOfTheNumbersAndTheBiasAloneOrAmongOthers) {
  constexpr int64_t kRows = 40;
  for (const KernelTable* kernels : usable_kernels())
    for (const bool with_bias : {false, true}) {
      SCOPED_TRACE(fmt::format("{} bias={}", kernels->isa, with_bias));
      const Stored stored(DType::q8_0, 150, 512);
      CpuOps ops(*kernels, 2);
      const auto x = random_normal(kRows * 512, 1), numbers = stored.numbers(), bias = random_normal(150, 6);
      const StoredTensor plain = {
          .name = "w", .dtype = DType::f32, .shape = {150, 512}, .bytes = std::as_bytes(std::span(numbers))};
      Weight b;
      if (with_bias)
        b = ops.load_vector(
            {.name = "b", .dtype = DType::f32, .shape = {150}, .bytes = std::as_bytes(std::span(bias))});
      const Weight w = ops.load_matrix({stored.tensor}, DType::q8_0);
      const Tensor x_TD = rows_of(ops, x, kRows);
      const auto want = numbers_of(ops.linear(x_TD, {ops.load_matrix({plain}, DType::f32), b}));
      const Tensor got = ops.logits(x_TD, {w, b});
      ASSERT_EQ(got.shape[0], kRows);
      for (size_t i = 0; i < want.size(); ++i)
        ASSERT_NEAR(got.data()[i], want[i], 7 * 0.5 * 4 / 127 / 254 * 0.58 * std::sqrt(512.0));
      for (const int64_t r : {0, 17, 39}) {
        const std::vector<float> row(x.begin() + r * 512, x.begin() + (r + 1) * 512);
        EXPECT_EQ(numbers_of(ops.logits(rows_of(ops, row, 1), {w, b})),
                  std::vector(got.row(r), got.row(r) + got.last()));
      }
    }
}

TEST(Logits, OfCoarserWeightsAreTheirProducts) {
  CpuOps ops(best_kernels(), 2);
  const Tensor x_TD = rows_of(ops, random_normal(3 * 512, 1), 3);
  for (const DType type : quantized_types()) {
    if (type == DType::q8_0) continue;
    const Stored stored(type, 70, 512);
    const Weight w = ops.load_matrix({stored.tensor}, type);
    EXPECT_EQ(numbers_of(ops.logits(x_TD, {w})), numbers_of(ops.linear(x_TD, {w}))) << name(type);
  }
}

TEST(Products, OfOneInputWithSeveralMatricesAreThoseOfEachAlone) {
  for (const KernelTable* kernels : usable_kernels())
    for (const int threads : {1, 2})
      for (const int64_t rows : {1, 5, 40}) {
        SCOPED_TRACE(fmt::format("{} threads={} rows={}", kernels->isa, threads, rows));
        CpuOps ops(*kernels, threads);
        const auto numbers = random_normal(1200 * 512, 4), bias = random_normal(300, 6),
                   x = random_normal(rows * 512, 1);
        const auto matrix = [&](int64_t outputs, DType held_as, bool with_bias) {
          const auto bytes = std::as_bytes(std::span(numbers)).subspan(outputs * 4);  // another one each
          Linear l{.w = ops.load_matrix({{.name = "w", .dtype = DType::f32, .shape = {outputs, 512}, .bytes = bytes}},
                                        held_as),
                   .bias = {}};
          if (with_bias)
            l.bias = ops.load_vector({.name = "b",
                                      .dtype = DType::f32,
                                      .shape = {outputs},
                                      .bytes = std::as_bytes(std::span(bias)).first(outputs * 4)});
          return l;
        };
        const Linear a = matrix(300, DType::q4_k, true), b = matrix(70, DType::q6_k, false),
                     c = matrix(64, DType::q4_k, false), d = matrix(129, DType::bf16, true),
                     e = matrix(5, DType::f32, false);
        Tensor x_TD = ops.arena().tensor(rows, 512);
        std::copy(x.begin(), x.end(), x_TD.data());
        const auto all = ops.linears(x_TD, {&a, &b, &c, &d, &e});
        size_t i = 0;
        for (const Linear* l : {&a, &b, &c, &d, &e}) {
          const Tensor want = ops.linear(x_TD, *l), got = all[i++];
          ASSERT_EQ(got.shape, want.shape);
          EXPECT_EQ(std::vector(got.data(), got.data() + got.elements()),
                    std::vector(want.data(), want.data() + want.elements()));
        }
      }
}

TEST(WeightTypes, RowsThatDoNotFillATypesBlocksAreHeldInASmallerOne) {
  EXPECT_EQ(holdable_type(DType::q4_k, 512), DType::q4_k);
  EXPECT_EQ(holdable_type(DType::q4_k, 1408), DType::q5_0);
  EXPECT_EQ(holdable_type(DType::q6_k, 1408), DType::q8_0);
  EXPECT_EQ(holdable_type(DType::q6_k, 100), DType::bf16);
  EXPECT_EQ(holdable_type(DType::q4_0, 100), DType::bf16);
  EXPECT_EQ(holdable_type(DType::iq4_xs, 512), DType::bf16);
  EXPECT_EQ(holdable_type(DType::f16, 512), DType::bf16);
}

TEST(QuantWeights, NumbersThatTheTypeCannotHoldAreRefusedWhileTheyAreLoaded) {
  CpuOps ops(best_kernels(), 2);
  const auto refusal = [&](float value, DType held_as, bool transposed = false) -> std::string {
    auto numbers = random_normal(100 * 512, 4);
    numbers[70 * 512 + 3] = value;
    StoredTensor whole = {
        .name = "w", .dtype = DType::f32, .shape = {100, 512}, .bytes = std::as_bytes(std::span(numbers))};
    try {
      ops.load_matrix({transposed ? whole : whole.rows_part(50, 100), transposed}, held_as);
    } catch (const Error& error) { return error.what(); }
    return "";
  };
  for (const DType type : quantized_types()) {
    EXPECT_EQ(refusal(4e5f, type), "") << name(type);
    EXPECT_THAT(refusal(1e20f, type), HasSubstr("row 70 of tensor 'w' holds 1e+20, which ")) << name(type);
    EXPECT_THAT(refusal(1e20f, type), HasSubstr("hint: --weights bf16 holds it")) << name(type);
    for (const float odd : {NAN, INFINITY})
      EXPECT_THAT(refusal(odd, type), HasSubstr("row 70 of tensor 'w' holds")) << name(type);
  }
  EXPECT_EQ(refusal(1e9f, DType::bf16), "");
  EXPECT_THAT(refusal(-3.4e38f, DType::bf16), HasSubstr("row 70 of tensor 'w' holds -3.4e+38, which bf16 cannot"));
  EXPECT_THAT(refusal(-3.4e38f, DType::bf16, /*transposed=*/true), HasSubstr("row 70 of tensor 'w'"));
  EXPECT_EQ(refusal(-3.4e38f, DType::f32), "");
}

}  // namespace
}  // namespace cachalot
