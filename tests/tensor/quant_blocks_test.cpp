// Golden vectors: block bytes b[i] = (37 i + 11) mod 256 with the scales set to 0.5 and 0.25; the expected elements,
// their sum and sum of squares were computed with gguf-py's dequantization.
#include "tensor/quant_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace cachalot {
namespace {

struct GoldenBlock {
  DType type;
  std::map<int, float> elements;
  double sum, sum_of_squares;
  int scale_at, minimum_at = -1;  // where 0.5 and 0.25 are written as f16
};

const std::vector<GoldenBlock> kGoldenBlocks = {
    {DType::q4_0, {{0, -1.5}, {1, 1}, {15, -4}, {16, -1.5}, {31, 0}}, -10.5, 161.25, 0},
    {DType::q4_1, {{0, 7.75}, {1, 2.25}, {15, 5.25}, {16, 4.75}, {31, 6.25}}, 130.5, 695, 0, 2},
    {DType::q5_0, {{0, 4.5}, {1, -1}, {15, -6}, {16, 7}, {31, 0.5}}, 7.5, 656.75, 0},
    {DType::q5_1, {{0, 9.75}, {1, 12.25}, {15, 15.25}, {16, 9.75}, {31, 2.75}}, 260.5, 2824.5, 0, 2},
    {DType::q8_0, {{0, 42.5}, {1, 61}, {15, -64}, {16, -45.5}, {31, -24}}, -88, 47564, 0},
    {DType::q2_k,
     {{0, 16.5},
      {1, 0},
      {17, -0.75},
      {32, 3.75},
      {63, 3.25},
      {64, 5.25},
      {100, 10},
      {127, 21},
      {128, 3.75},
      {200, 4},
      {255, 2.25}},
     1029.5,
     13619,
     80,
     82},
    {DType::q3_k,
     {{0, 40.5},
      {1, -54},
      {17, 64},
      {32, -11},
      {63, 5},
      {64, 17},
      {100, 0},
      {127, 36},
      {128, 1},
      {200, 12.5},
      {255, 21}},
     479,
     142176.5,
     108},
    {DType::q4_k,
     {{0, 157.75},
      {1, -12.75},
      {17, -12.75},
      {32, 4},
      {63, 20},
      {64, 210.25},
      {100, 47.5},
      {127, 40.5},
      {128, 211.5},
      {200, 69.25},
      {255, 24.25}},
     27220,
     6041305,
     0,
     2},
    {DType::q5_k,
     {{0, 405.75},
      {1, -12.75},
      {17, -12.75},
      {32, 56},
      {63, 40},
      {64, 210.25},
      {100, 117.5},
      {127, -1.5},
      {128, 523.5},
      {200, 69.25},
      {255, 54.25}},
     58108,
     25707205,
     0,
     2},
    {DType::q6_k,
     {{0, -715.5},
      {1, 848},
      {17, 256},
      {32, 115.5},
      {63, -290},
      {64, -1520},
      {100, 1261.5},
      {127, 750},
      {128, -175.5},
      {200, 544.5},
      {255, -30}},
     2306,
     118475065,
     208},
    {DType::iq4_nl, {{0, -17.5}, {1, 12.5}, {15, -63.5}, {16, -17.5}, {31, 0.5}}, -128.5, 33573.25, 0},
    {DType::iq4_xs,
     {{0, 32.5},
      {1, -0.5},
      {17, 17.5},
      {32, 227.5},
      {63, -87.5},
      {64, 390},
      {100, 20},
      {127, 98},
      {128, -292.5},
      {200, 570},
      {255, -8}},
     -5502.5,
     60747839.25,
     0},
    {DType::mxfp4, {{0, 0}, {1, 6}, {15, -3}, {16, 3}, {31, 6}}, 25, 1137, -1},
};

void put_half(std::vector<std::byte>& bytes, int at, float value) {
  const uint16_t half = f32_to_f16(value);
  bytes[at] = static_cast<std::byte>(half & 255);
  bytes[at + 1] = static_cast<std::byte>(half >> 8);
}

std::vector<std::byte> golden_bytes(const GoldenBlock& golden) {
  std::vector<std::byte> bytes(info(golden.type).block_bytes);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>((37 * i + 11) % 256);
  if (golden.scale_at >= 0) put_half(bytes, golden.scale_at, 0.5f);
  if (golden.minimum_at >= 0) put_half(bytes, golden.minimum_at, 0.25f);
  if (golden.type == DType::mxfp4) bytes[0] = std::byte{128};
  return bytes;
}

std::vector<float> decode(DType type, std::vector<std::byte> bytes) {
  std::vector<float> y(bytes.size() / info(type).block_bytes * info(type).block_elements);
  dequantize(type, bytes, y);
  return y;
}

TEST(QuantBlocks, EveryBlockTypeAgreesWithItsGoldenVector) {
  for (const GoldenBlock& golden : kGoldenBlocks) {
    SCOPED_TRACE(name(golden.type));
    const auto y = decode(golden.type, golden_bytes(golden));
    for (const auto& [i, value] : golden.elements) EXPECT_EQ(y[i], value) << "element " << i;
    double sum = 0, sum_of_squares = 0;
    for (const float value : y) sum += value, sum_of_squares += double{value} * value;
    EXPECT_EQ(sum, golden.sum);
    EXPECT_EQ(sum_of_squares, golden.sum_of_squares);
  }
}

TEST(QuantBlocks, ARowOfSeveralBlocksIsItsBlocksInOrder) {
  for (const GoldenBlock& golden : kGoldenBlocks) {
    SCOPED_TRACE(name(golden.type));
    const auto block = golden_bytes(golden);
    auto row = block;
    std::vector<std::byte> other = block;
    for (auto& byte : other) byte ^= std::byte{0x15};
    row.insert(row.end(), other.begin(), other.end());
    const auto y = decode(golden.type, row), first = decode(golden.type, block), second = decode(golden.type, other);
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(first[i]));
      EXPECT_EQ(std::bit_cast<uint32_t>(y[i + first.size()]), std::bit_cast<uint32_t>(second[i]));
    }
  }
}

TEST(QuantBlocks, TheSmallestScalesOfMxfp4AreSubnormalAndExact) {
  std::vector<std::byte> block(17, std::byte{0x11});
  for (const int exponent : {0, 1, 2, 127, 254}) {
    block[0] = static_cast<std::byte>(exponent);
    EXPECT_EQ(decode(DType::mxfp4, block)[0], std::ldexp(1.0f, exponent - 128)) << exponent;
  }
}

// The value of a half by the definition of the format.
double half_by_definition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double size = exponent == 31  ? (mantissa ? std::nan("") : std::numeric_limits<double>::infinity())
                      : exponent == 0 ? std::ldexp(mantissa, -24)
                                      : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -size : size;
}

TEST(QuantBlocks, EveryF16IsReadAsTheFormatDefinesItAndSurvivesTheWayBack) {
  for (int code = 0; code < 65536; ++code) {
    const auto bits = static_cast<uint16_t>(code);
    const double want = half_by_definition(bits);
    const float got = f16_to_f32(bits);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got)) << code;
      ASSERT_TRUE(std::isnan(f16_to_f32(f32_to_f16(got)))) << code;
    } else {
      ASSERT_EQ(got, want) << code;
      ASSERT_EQ(f32_to_f16(got), bits) << code;  // tells -0 from 0
    }
  }
}

TEST(QuantBlocks, F32ToF16RoundsToTheNearestAndTiesToEven) {
  for (int code = 0; code < 0x7bff; ++code) {  // each finite half and its neighbour above
    const auto low = static_cast<uint16_t>(code), high = static_cast<uint16_t>(code + 1);
    const float a = f16_to_f32(low), b = f16_to_f32(high), middle = a + (b - a) / 2;  // exact in f32
    ASSERT_EQ(f32_to_f16(middle), code % 2 == 0 ? low : high) << code;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, a)), low) << code;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, b)), high) << code;
    ASSERT_EQ(f32_to_f16(-middle), (code % 2 == 0 ? low : high) | 0x8000) << code;
  }
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f32_to_f16(1e-30f), 0);
}

TEST(QuantBlocks, F32ToBf16RoundsToTheNearestEvenAndKeepsNaN) {
  const auto bf16 = [](uint32_t bits) { return f32_to_bf16(std::bit_cast<float>(bits)); };
  EXPECT_EQ(bf16(0x3f807fff), 0x3f80);
  EXPECT_EQ(bf16(0x3f808000), 0x3f80);  // tie, even below
  EXPECT_EQ(bf16(0x3f818000), 0x3f82);  // tie, even above
  EXPECT_EQ(bf16(0x3f808001), 0x3f81);
  EXPECT_EQ(bf16(0x7f7fffff), 0x7f80);  // the largest f32 rounds to infinity
  EXPECT_TRUE(std::isnan(bf16_to_f32(bf16(0x7f800001))));
  EXPECT_EQ(bf16_to_f32(0xc049), -3.140625f);
}

TEST(QuantBlocks, PlainTypesAreReadExactly) {
  const float f32[] = {1.5f, -2.25f};
  const double f64[] = {1.5, -2.25};
  std::vector<float> y(2);
  dequantize(DType::f32, std::as_bytes(std::span(f32)), y);
  EXPECT_EQ(y, (std::vector<float>{1.5f, -2.25f}));
  dequantize(DType::f64, std::as_bytes(std::span(f64)), y);
  EXPECT_EQ(y, (std::vector<float>{1.5f, -2.25f}));
  const uint16_t bf16[] = {0x3fc0, 0xc010}, f16[] = {0x3e00, 0xc080};
  dequantize(DType::bf16, std::as_bytes(std::span(bf16)), y);
  EXPECT_EQ(y, (std::vector<float>{1.5f, -2.25f}));
  dequantize(DType::f16, std::as_bytes(std::span(f16)), y);
  EXPECT_EQ(y, (std::vector<float>{1.5f, -2.25f}));
  const uint8_t e5m2[] = {0x3e, 0xc0};
  dequantize(DType::f8_e5m2, std::as_bytes(std::span(e5m2)), y);
  EXPECT_EQ(y, (std::vector<float>{1.5f, -2.0f}));
  dequantize(DType::f32, {}, {});  // nothing is a whole number of blocks
}

TEST(QuantBlocks, EveryF8E4m3IsReadAsTheFormatDefinesIt) {
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<std::byte>(code);
    float value;
    dequantize(DType::f8_e4m3, {&byte, 1}, {&value, 1});
    const int exponent = (code >> 3) & 15, mantissa = code & 7;
    if ((code & 127) == 127) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    const double size = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
    EXPECT_EQ(value, code < 128 ? size : -size) << code;
  }
}

TEST(QuantBlocks, IntegerTypesAreNoNumberFormats) {
  for (const DType type : {DType::i8, DType::i16, DType::i32, DType::i64, DType::u8, DType::boolean})
    EXPECT_FALSE(can_dequantize(type)) << name(type);
  for (const GoldenBlock& golden : kGoldenBlocks) EXPECT_TRUE(can_dequantize(golden.type)) << name(golden.type);
  std::vector<float> y(1);
  const std::byte byte{};
  EXPECT_DEATH(dequantize(DType::u8, {&byte, 1}, y), "no number format");
  EXPECT_DEATH(dequantize(DType::f16, {&byte, 1}, y), "1 elements of f16");
}

}  // namespace
}  // namespace cachalot
