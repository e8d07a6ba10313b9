#include "common/model/random_weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace baton::model {
namespace {

std::vector<float> Values(uint64_t seed, kernels::DType dtype, std::string_view name, int64_t rows,
                          int64_t cols) {
  RandomWeights source(seed, dtype);
  const auto matrix = source.Get(name, rows, cols, rows == 1);
  EXPECT_TRUE(matrix.ok());
  std::vector<float> values(size_t(rows * cols));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == kernels::DType::kF32) {
      std::memcpy(&values[i], matrix->data + i * 4, 4);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, matrix->data + i * 2, 2);
      values[i] = std::bit_cast<float>(uint32_t{bits} << 16);
    }
  }
  return values;
}

TEST(RandomWeightsTest, PrecisionDoesNotChangeTheValues) {
  EXPECT_EQ(Values(3, kernels::DType::kF32, "a.q_proj.weight", 13, 11),
            Values(3, kernels::DType::kBF16, "a.q_proj.weight", 13, 11));
}

TEST(RandomWeightsTest, SeedAndNameChangeTheValues) {
  const auto base = Values(3, kernels::DType::kF32, "a.weight", 8, 8);
  EXPECT_EQ(Values(3, kernels::DType::kF32, "a.weight", 8, 8), base);
  EXPECT_NE(Values(4, kernels::DType::kF32, "a.weight", 8, 8), base);
  EXPECT_NE(Values(3, kernels::DType::kF32, "b.weight", 8, 8), base);
}

TEST(RandomWeightsTest, MatricesAreNearNormalWithTheirDeviation) {
  const auto values =
      Values(0, kernels::DType::kF32, "model.layers.0.mlp.up_proj.weight", 400, 400);
  double sum = 0, squares = 0, beyond = 0;
  for (const float v : values) {
    sum += v;
    squares += double(v) * v;
    beyond += std::fabs(v) > 2.0 / 20;
  }
  const double n = double(values.size());
  EXPECT_NEAR(sum / n, 0, 5e-4);
  EXPECT_NEAR(std::sqrt(squares / n), 1.0 / 20, 1e-3);
  EXPECT_NEAR(beyond / n, 0.0455, 0.01);
}

TEST(RandomWeightsTest, NormsAreNearOne) {
  for (const float v : Values(0, kernels::DType::kF32, "model.norm.weight", 1, 100)) {
    EXPECT_NEAR(v, 1, 0.4);
  }
}

}  // namespace
}  // namespace baton::model
