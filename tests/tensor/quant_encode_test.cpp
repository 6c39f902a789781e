// The encoders against what their types promise, and against the plain rounding that a first reading of the layouts
// suggests. How they compare with other programs' encoders on the same numbers is in docs/log.md.
#include "tensor/quant_encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "tensor/quant_blocks.h"

namespace cachalot {
namespace {

const std::vector<DType> kBlockTypes = {DType::q8_0, DType::q4_0,   DType::q4_1, DType::q5_0,
                                        DType::q5_1, DType::iq4_nl, DType::q2_k, DType::q3_k,
                                        DType::q4_k, DType::q5_k,   DType::q6_k};

std::vector<std::byte> encode(DType type, const std::vector<float>& x, std::span<const float> importance = {}) {
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(type, std::ssize(x))));
  quantize(type, x, importance, bytes);
  return bytes;
}

std::vector<float> decode(DType type, const std::vector<std::byte>& bytes, size_t count) {
  std::vector<float> y(count);
  dequantize(type, bytes, y);
  return y;
}

std::vector<float> through(DType type, const std::vector<float>& x, std::span<const float> importance = {}) {
  return decode(type, encode(type, x, importance), x.size());
}

// Gaussian numbers, each divided by the root of a mean of squares of few others: Student's t, with heavy tails.
std::vector<float> heavy_tailed(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(static_cast<size_t>(count));
  for (float& v : x) {
    double squares = 0;
    for (int i = 0; i < 3; ++i) squares += std::pow(random.normal(), 2);
    v = static_cast<float>(0.02 * random.normal() / std::sqrt(squares / 3));
  }
  return x;
}

double weighted_error(const std::vector<float>& x, const std::vector<float>& y, std::span<const float> w = {}) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (w.empty() ? 1.0 : w[i]) * std::pow(double{x[i]} - y[i], 2);
  return sum;
}

double relative_rms(const std::vector<float>& x, const std::vector<float>& y) {
  return std::sqrt(weighted_error(x, y) / weighted_error(x, std::vector<float>(x.size())));
}

TEST(QuantEncode, Q8HoldsEveryNumberWithinHalfAStepOfItsBlock) {
  for (const double scale : {1e-5, 0.02, 1.0, 3e4}) {
    const auto x = random_normal(32 * 64, 1, scale);
    const auto bytes = encode(DType::q8_0, x);
    const auto y = decode(DType::q8_0, bytes, x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const std::byte* block = bytes.data() + i / 32 * 34;
      const float step =
          f16_to_f32(static_cast<uint16_t>(std::to_integer<int>(block[0]) | std::to_integer<int>(block[1]) << 8));
      EXPECT_LE(std::abs(x[i] - y[i]), 0.50001f * step);
      EXPECT_NE(std::to_integer<uint8_t>(block[2 + i % 32]), 0x80) << "code -128";
    }
  }
}

// Bounds: what the encoder reaches on these rows, and 2 %. Rounding every part to the nearest code between its
// extremes is 5 to 30 % worse.
TEST(QuantEncode, TheErrorOfEveryTypeStaysWhereItWasMeasured) {
  struct Bound {
    DType type;
    double gaussian, heavy;
  };
  const auto gaussian = random_normal(256 * 64, 2, 0.02), heavy = heavy_tailed(256 * 64, 3);
  for (const Bound& bound : std::vector<Bound>{{DType::q8_0, 0.0053, 0.0089},
                                               {DType::q4_0, 0.0830, 0.1240},
                                               {DType::q4_1, 0.0713, 0.0910},
                                               {DType::q5_0, 0.0413, 0.0666},
                                               {DType::q5_1, 0.0351, 0.0460},
                                               {DType::iq4_nl, 0.0755, 0.1012},
                                               {DType::q2_k, 0.2660, 0.2892},
                                               {DType::q3_k, 0.1470, 0.1800},
                                               {DType::q4_k, 0.0717, 0.0923},
                                               {DType::q5_k, 0.0357, 0.0473},
                                               {DType::q6_k, 0.0172, 0.0260}}) {
    EXPECT_LE(relative_rms(gaussian, through(bound.type, gaussian)), bound.gaussian) << name(bound.type);
    EXPECT_LE(relative_rms(heavy, through(bound.type, heavy)), bound.heavy) << name(bound.type);
  }
}

TEST(QuantEncode, WhatWasEncodedOnceIsEncodedAgainWithoutMoreLoss) {
  const auto x = random_normal(256 * 16, 4);
  for (const DType type : kBlockTypes) {
    const auto once = through(type, x), twice = through(type, once);
    // Where scales are shared or an offset is rounded, the same lattice is found again only nearly.
    const bool one_scale = type == DType::q8_0 || type == DType::q4_0 || type == DType::q5_0 || type == DType::iq4_nl;
    EXPECT_LE(relative_rms(once, twice), one_scale ? 1e-6 : 0.25 * relative_rms(x, once)) << name(type);
  }
}

TEST(QuantEncode, ImportanceLowersTheErrorWhereItIsHighAndTheWeightedSum) {
  const auto x = random_normal(256 * 32, 5);
  std::vector<float> importance(x.size());
  Random random(6);
  for (float& w : importance) w = static_cast<float>(std::exp(1.5 * random.normal()));
  for (const DType type : kBlockTypes) {
    const double plain = weighted_error(x, through(type, x), importance);
    EXPECT_LT(weighted_error(x, through(type, x, importance), importance), 0.95 * plain) << name(type);
  }
}

TEST(QuantEncode, OnlyRatiosOfImportanceCountAndUniformOneIsNone) {
  const auto x = random_normal(256 * 4, 7);
  std::vector<float> importance(x.size()), larger(x.size());
  Random random(8);
  for (size_t i = 0; i < x.size(); ++i) {
    importance[i] = static_cast<float>(random.uniform() + 0.1);
    larger[i] = importance[i] * 0x1p80f;
  }
  for (const DType type : kBlockTypes) {
    EXPECT_EQ(encode(type, x, importance), encode(type, x, larger)) << name(type);
    EXPECT_EQ(encode(type, x), encode(type, x, std::vector<float>(x.size(), 0x1p-90f))) << name(type);
    EXPECT_EQ(encode(type, x), encode(type, x, std::vector<float>(x.size(), 0.0f))) << name(type);
  }
}

TEST(QuantEncode, ImportanceThatIsNoWeightCountsAsZero) {
  const auto x = random_normal(256, 9);
  std::vector<float> odd(x.size(), 1.0f), zero = odd;
  odd[3] = -5, odd[40] = std::numeric_limits<float>::infinity(), odd[100] = std::nanf("");
  zero[3] = zero[40] = zero[100] = 0;
  for (const DType type : kBlockTypes) EXPECT_EQ(encode(type, x, odd), encode(type, x, zero)) << name(type);
}

TEST(QuantEncode, EveryBlockIsEncodedOnItsOwn) {
  const auto x = random_normal(256 * 3, 10);
  for (const DType type : kBlockTypes) {
    auto parts = encode(type, {x.begin(), x.begin() + 256});
    const auto rest = encode(type, {x.begin() + 256, x.end()});
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_EQ(encode(type, x), parts) << name(type);
  }
}

TEST(QuantEncode, ConstantBlocksAreHeldAsWellAsTheirScalesCan) {
  for (const float value : {0.0f, 0.75f, -0.75f, 1e-3f}) {
    const std::vector<float> x(256, value);
    for (const DType type : kBlockTypes)
      for (const float y : through(type, x))
        EXPECT_NEAR(y, value, 6e-4f * std::abs(value) + 127 * 0x1p-25f) << name(type);
  }
}

TEST(QuantEncode, NumbersThatNoBlockCanHoldStayFinite) {
  const float inf = std::numeric_limits<float>::infinity(), max = std::numeric_limits<float>::max();
  std::vector<float> x = random_normal(256 * 6, 11);
  x[1] = std::nanf(""), x[2] = -std::nanf("");
  x[300] = inf, x[301] = -inf;
  x[600] = max, x[700] = -max;
  for (int i = 768; i < 1024; ++i) x[static_cast<size_t>(i)] = std::nanf("");
  for (int i = 1024; i < 1280; ++i) x[static_cast<size_t>(i)] = i % 2 ? max : -max;
  for (int i = 1280; i < 1536; ++i) x[static_cast<size_t>(i)] = std::numeric_limits<float>::denorm_min();
  for (const DType type : kBlockTypes) {
    const auto y = through(type, x);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_TRUE(std::isfinite(y[i])) << name(type) << " " << i;
    EXPECT_GT(y[300], 6e4f) << name(type);
    EXPECT_LT(y[301], -6e4f) << name(type);
    for (size_t i = 768; i < 1024; ++i) EXPECT_EQ(y[i], 0) << name(type);
    for (size_t i = 1280; i < 1536; ++i) EXPECT_EQ(y[i], 0) << name(type);
  }
}

constexpr float kHalf = 65504;  // the largest f16

std::optional<size_t> first_not_held(DType type, const std::vector<float>& x) {
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(type, std::ssize(x))));
  return quantize(type, x, {}, bytes);
}

float above(float v) { return std::nextafter(v, v > 0 ? INFINITY : -INFINITY); }

// Two numbers at the ends of what one block reaches, the layouts of docs/formats.md with the largest scales and
// codes.
struct Ends {
  DType type;
  float one, other;
};
const std::vector<Ends> kEnds = {{DType::q8_0, 127 * kHalf, -127 * kHalf},
                                 {DType::q4_0, -8 * kHalf, 7 * kHalf},
                                 {DType::q4_0, 8 * kHalf, -7 * kHalf},
                                 {DType::q5_0, -16 * kHalf, 15 * kHalf},
                                 {DType::q5_0, 16 * kHalf, -15 * kHalf},
                                 {DType::iq4_nl, -127 * kHalf, 113 * kHalf},
                                 {DType::iq4_nl, 127 * kHalf, -113 * kHalf},
                                 {DType::q4_1, -kHalf, 14 * kHalf},
                                 {DType::q4_1, 15 * kHalf, 0},
                                 {DType::q4_1, 16 * kHalf, kHalf},
                                 {DType::q5_1, -kHalf, 30 * kHalf},
                                 {DType::q5_1, 32 * kHalf, kHalf},
                                 {DType::q2_k, -15 * kHalf, 30 * kHalf},
                                 {DType::q2_k, 45 * kHalf, 0},
                                 {DType::q3_k, 128 * kHalf, -96 * kHalf},
                                 {DType::q3_k, -128 * kHalf, 96 * kHalf},
                                 {DType::q4_k, -63 * kHalf, 882 * kHalf},
                                 {DType::q4_k, 945 * kHalf, 0},
                                 {DType::q5_k, -63 * kHalf, 1890 * kHalf},
                                 {DType::q5_k, 1953 * kHalf, 0},
                                 {DType::q6_k, 4096 * kHalf, -3968 * kHalf},
                                 {DType::q6_k, -4096 * kHalf, 3968 * kHalf}};

TEST(QuantEncode, HoldsTheLargestNumbersOfABlockAndRefusesTheNext) {
  for (const Ends& ends : kEnds) {
    SCOPED_TRACE(testing::Message() << name(ends.type) << " " << ends.one << " " << ends.other);
    const auto elements = static_cast<size_t>(info(ends.type).block_elements);
    std::vector<float> x(2 * elements, ends.other);
    for (size_t i = 0; i < x.size(); i += 2) x[i] = ends.one;
    EXPECT_EQ(first_not_held(ends.type, x), std::nullopt);
    const auto y = through(ends.type, x);
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], x[i], 1e-6f * std::abs(ends.one)) << i;
    const float wider =
        ends.one == -kHalf * 15 || ends.one == -kHalf * 63 || ends.one == -kHalf ? ends.other : ends.one;
    for (const float end : {ends.one, wider}) {
      const auto at =
          static_cast<size_t>(std::find(x.begin() + static_cast<ptrdiff_t>(elements), x.end(), end) - x.begin());
      auto beyond = x;
      beyond[at] = above(end);
      EXPECT_EQ(first_not_held(ends.type, beyond), at);
    }
  }
}

TEST(QuantEncode, RefusesNaNAndInfinityInEveryType) {
  auto types = kBlockTypes;
  types.insert(types.end(), {DType::f32, DType::f16, DType::bf16});
  for (const DType type : types)
    for (const float odd : {NAN, -NAN, INFINITY, -INFINITY}) {
      auto x = random_normal(512, 12);
      EXPECT_EQ(first_not_held(type, x), std::nullopt) << name(type);
      x[300] = x[400] = odd;
      EXPECT_EQ(first_not_held(type, x), 300u) << name(type) << " " << odd;
    }
}

TEST(QuantEncode, OnePartOfAKTypeMayAskForASignThatAnotherCannotHave) {
  for (const auto& [type, reach] : {std::pair{DType::q3_k, 128 * kHalf}, {DType::q6_k, 4096 * kHalf}}) {
    std::vector<float> x(256);
    x[0] = x[32] = reach;
    EXPECT_EQ(first_not_held(type, x), std::nullopt);
    x[32] = -reach;
    EXPECT_TRUE(first_not_held(type, x)) << "the scales would be -128 and 128 times one number";
    x[32] = type == DType::q3_k ? -124 * kHalf : -4064 * kHalf;
    EXPECT_EQ(first_not_held(type, x), std::nullopt);
  }
}

TEST(QuantEncode, PlainTypesRefuseWhatBecomesInfinite) {
  EXPECT_EQ(first_not_held(DType::f16, {65519.996f, -65519.996f}), std::nullopt);
  EXPECT_EQ(first_not_held(DType::f16, {1, 65520, 1e30f}), 1u);
  EXPECT_EQ(first_not_held(DType::bf16, {3.38e38f, 0x1.fefffep127f}), std::nullopt);
  EXPECT_EQ(first_not_held(DType::bf16, {1, -0x1.ffp127f}), 1u);
  EXPECT_EQ(first_not_held(DType::f32, {std::numeric_limits<float>::max()}), std::nullopt);
}

TEST(QuantEncode, PlainTypesAreRoundedOrCopied) {
  const std::vector<float> x = {1.0f, -2.5f, 1.0f + 0x1p-12f, 1e9f, std::nanf("")};
  EXPECT_EQ(through(DType::f16, x)[2], 1.0f);
  EXPECT_TRUE(std::isinf(through(DType::f16, x)[3]));
  EXPECT_EQ(through(DType::bf16, x)[1], -2.5f);
  EXPECT_EQ(through(DType::f32, x)[2], x[2]);
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) EXPECT_TRUE(std::isnan(through(type, x)[4]));
}

TEST(QuantEncode, SaysWhatItCannotWrite) {
  for (const DType type : kBlockTypes) EXPECT_TRUE(can_quantize(type));
  for (const DType type : {DType::iq4_xs, DType::mxfp4, DType::i8, DType::f8_e4m3}) EXPECT_FALSE(can_quantize(type));
}

}  // namespace
}  // namespace cachalot
