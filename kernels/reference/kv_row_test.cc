#include "kernels/kv_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/testing/fixtures.h"

namespace baton::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Of all that `dtype` can say the one nearest to `value`; of two, the one whose code is even.
uint8_t Nearest(DType dtype, float value) {
  uint8_t best = 0;
  double distance = kInfinity;
  for (int code = 0; code < 256; ++code) {
    const auto byte = std::byte(code);
    const float candidate = LoadElement(&byte, dtype, 0);
    if (std::isnan(candidate) || std::signbit(candidate) != std::signbit(value)) continue;
    const double away = std::fabs(double(candidate) - double(value));
    if (away < distance || (away == distance && code % 2 == 0)) best = uint8_t(code);
    distance = std::min(distance, away);
  }
  return best;
}

TEST(KvRowTest, Fp8IsTheNearestOfAllItsValues) {
  testing::Random random(1);
  for (int i = 0; i < 4000; ++i) {
    const float value = std::ldexp(random.Float(), random.Int(-14, 9));
    ASSERT_EQ(Fp8FromF32(value), Nearest(DType::kFp8, value)) << value;
  }
  // Halfway between two neighbours, and next to it.
  for (int code = 0; code < 0x7e; ++code) {
    const float half = (F32FromFp8(uint8_t(code)) + F32FromFp8(uint8_t(code + 1))) / 2;
    EXPECT_EQ(Fp8FromF32(half), uint8_t(code + code % 2)) << code;
    EXPECT_EQ(Fp8FromF32(std::nextafter(half, 0.0f)), uint8_t(code));
    EXPECT_EQ(Fp8FromF32(-std::nextafter(half, kInfinity)), uint8_t(0x80 + code + 1));
  }
  EXPECT_EQ(Fp8FromF32(1e9f), 0x7e);
  EXPECT_EQ(Fp8FromF32(-kInfinity), 0xfe);
  EXPECT_EQ(Fp8FromF32(std::nanf("")) & 0x7f, 0x7f);
}

TEST(KvRowTest, Int8IsTheNearestWholeNumber) {
  EXPECT_EQ(Int8FromF32(0.5f), 0);
  EXPECT_EQ(Int8FromF32(1.5f), 2);
  EXPECT_EQ(Int8FromF32(-2.5f), -2);
  EXPECT_EQ(Int8FromF32(-126.6f), -127);
  EXPECT_EQ(Int8FromF32(1e30f), 127);
  EXPECT_EQ(Int8FromF32(-kInfinity), -127);
  EXPECT_EQ(Int8FromF32(std::nanf("")), 0);
  for (float value = -127; value <= 127; value += 0.25f) {
    EXPECT_EQ(Int8FromF32(value), int8_t(std::nearbyint(value))) << value;
  }
}

// Half a step: of int8 1/127 of the largest, of fp8 one of eight steps of a power of two.
TEST(KvRowTest, AQuantizedRowIsWithinHalfAStepOfItself) {
  testing::Random random(2);
  for (const DType dtype : {DType::kFp8, DType::kInt8}) {
    for (const float size : {1e-20f, 1e-3f, 1.0f, 1e4f, 1e30f}) {
      const std::vector<float> row = random.Floats(128, size);
      std::vector<std::byte> bytes(128);
      const float scale = QuantizeRow(row.data(), 128, dtype, bytes.data());
      for (int i = 0; i < 128; ++i) {
        const float got = LoadElement(bytes.data(), dtype, i) * scale;
        const float half = dtype == DType::kInt8
                               ? scale * 0.5001f
                               : std::max(std::fabs(row[size_t(i)]) / 15.99f, scale * 0x1p-10f);
        EXPECT_NEAR(got, row[size_t(i)], half) << NameOf(dtype) << " " << i;
      }
    }
  }
}

TEST(KvRowTest, RowsThatAreNoNumbersShowItAndTinyOnesAreZero) {
  for (const DType dtype : {DType::kFp8, DType::kInt8}) {
    std::byte bytes[3];
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      const float row[] = {1, bad, 2};
      EXPECT_TRUE(std::isnan(QuantizeRow(row, 3, dtype, bytes)));
    }
    for (const float tiny : {0.0f, 1e-38f, 1e-44f}) {
      const float row[] = {tiny, -tiny, tiny / 2};
      EXPECT_EQ(QuantizeRow(row, 3, dtype, bytes), 0);
      for (const std::byte byte : bytes) EXPECT_EQ(byte, std::byte(0));
    }
  }
}

// What a hand-over and a checksum take along.
TEST(KvRowTest, AHeadsScalesLieBehindItsElementsAndInsideItsBytes) {
  KvView kv = {.dtype = DType::kInt8,
               .num_layers = 2,
               .num_blocks = 3,
               .block_tokens = 16,
               .num_kv_heads = 2,
               .head_dim = 64};
  EXPECT_EQ(kv.head_bytes(), 16u * 64 + 16 * 4);
  EXPECT_EQ(kv.block_layer_bytes(), 4 * kv.head_bytes());
  std::vector<std::byte> pool(kv.pool_bytes());
  kv.base = pool.data();
  const KvRow row = RowOf(kv, 1, 2, 1, 1, 15);  // the very last one
  EXPECT_EQ(reinterpret_cast<std::byte*>(row.scale + 1), pool.data() + pool.size());
  EXPECT_EQ(row.elements + 64, reinterpret_cast<std::byte*>(row.scale - 15));
}

}  // namespace
}  // namespace baton::kernels
