#include "common/model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

namespace baton::model {
namespace {

// What transformers 5 (float32, CPU) computes for the same parameters.
struct Expected {
  std::string name;
  RopeConfig rope;
  int32_t head_dim;
  float attention_factor;
  std::vector<std::pair<int, float>> inv_freq;  // (pair, value): both ends and the ramp
};

RopeConfig Llama31() {
  RopeConfig rope{.kind = RopeKind::kLlama3, .theta = 500000, .factor = 8};
  rope.original_max_positions = 8192;
  return rope;
}

RopeConfig Yarn(double theta, double factor, int32_t original) {
  RopeConfig rope{.kind = RopeKind::kYarn, .theta = theta, .factor = factor};
  rope.original_max_positions = original;
  return rope;
}

RopeConfig YarnWithMscales() {
  RopeConfig rope = Yarn(10000, 40, 4096);
  rope.beta_fast = 24;
  rope.beta_slow = 2;
  rope.mscale = 1;
  rope.mscale_all_dim = 0.707;
  return rope;
}

RopeConfig YarnUntruncated() {
  RopeConfig rope = Yarn(150000, 32, 4096);
  rope.truncate = false;
  rope.attention_factor = 1.5;
  return rope;
}

std::vector<Expected> Cases() {
  return {
      {"default",
       {},
       64,
       1,
       {{0, 1.f},
        {1, 0.749894202f},
        {13, 0.0237137359f},
        {16, 0.00999999978f},
        {31, 0.00013335215f}}},
      {"linear",
       {.kind = RopeKind::kLinear, .factor = 4},
       64,
       1,
       {{0, 0.25f}, {1, 0.18747355f}, {16, 0.00249999994f}, {31, 3.33380376e-05f}}},
      {"llama3",
       Llama31(),
       128,
       1,
       {{0, 1.f},
        {1, 0.814617217f},
        {16, 0.0376060307f},
        {29, 0.00216657063f},
        {30, 0.00137189368f},
        {31, 0.00085675146f},
        {32, 0.000524846022f},
        {33, 0.00031269365f},
        {34, 0.000178507791f},
        {35, 9.55621217e-05f},
        {48, 6.64786967e-06f},
        {63, 3.06892588e-07f}}},
      {"yarn",
       Yarn(1e6, 4, 32768),
       128,
       1.138629436111989f,
       {{0, 1.f},
        {1, 0.805842221f},
        {16, 0.0316227786f},
        {29, 0.00140511245f},
        {30, 0.00106436096f},
        {32, 0.000602941145f},
        {34, 0.000334240554f},
        {48, 7.90569356e-06f},
        {63, 3.10234441e-07f}}},
      {"yarn with mscales",
       YarnWithMscales(),
       64,
       1.0857263992561355f,
       {{0, 1.f},
        {8, 0.100000001f},
        {13, 0.0190895572f},
        {15, 0.0081344815f},
        {17, 0.00311206095f},
        {19, 0.00092773221f},
        {24, 2.49999994e-05f},
        {31, 3.33380353e-06f}}},
      {"yarn untruncated",
       YarnUntruncated(),
       64,
       1.5f,
       {{0, 1.f},
        {1, 0.689044297f},
        {8, 0.0508132726f},
        {13, 0.00386035908f},
        {15, 0.00105260219f},
        {17, 0.000129318694f},
        {19, 2.63964685e-05f},
        {31, 3.0235114e-07f}}},
  };
}

TEST(RopeTest, FrequenciesAreTheReferencesToTheLastBitOrTwo) {
  for (const Expected& c : Cases()) {
    const std::vector<float> got = InverseFrequencies(c.rope, c.head_dim);
    ASSERT_EQ(int(got.size()), c.head_dim / 2) << c.name;
    for (const auto& [pair, value] : c.inv_freq) {
      EXPECT_NEAR(got[pair] / value, 1, 3e-7) << c.name << ", pair " << pair;
    }
    EXPECT_FLOAT_EQ(RopeAttentionFactor(c.rope), c.attention_factor) << c.name;
  }
}

// Far out, float32 angles differ from exact ones by a lot; the reference's are float32.
TEST(RopeTest, TablesFollowTheReferenceToTheEndOfALongContext) {
  const int32_t positions = 131072;
  const RopeTables llama = MakeRopeTables(Llama31(), 128, positions);
  const size_t last = size_t(positions - 1) * 64;
  EXPECT_NEAR(llama.cos[last + 1], -0.8172318, 1e-6);
  EXPECT_NEAR(llama.sin[last + 1], 0.576309, 1e-6);
  EXPECT_NEAR(llama.cos[last + 32], 0.9483043, 1e-5);
  EXPECT_NEAR(llama.sin[last + 63], 0.04021387, 1e-6);
}

TEST(RopeTest, YarnScalesCosineAndSine) {
  const RopeTables yarn = MakeRopeTables(Yarn(1e6, 4, 32768), 128, 18);
  EXPECT_FLOAT_EQ(yarn.cos[0], 1.138629436f);
  EXPECT_NEAR(yarn.cos[17 * 64 + 1], 0.4827702, 1e-6);
  EXPECT_NEAR(yarn.sin[17 * 64 + 1], 1.031218, 1e-6);
  EXPECT_NEAR(yarn.sin[17 * 64 + 32], 0.01167075, 1e-8);
}

TEST(RopeTest, EveryTableEntryIsCosineAndSineOfOneAngle) {
  const RopeTables tables = MakeRopeTables({}, 32, 50);
  ASSERT_EQ(tables.cos.size(), 50u * 16);
  ASSERT_EQ(tables.sin.size(), 50u * 16);
  for (size_t i = 0; i < tables.cos.size(); ++i) {
    EXPECT_NEAR(std::hypot(tables.cos[i], tables.sin[i]), 1, 1e-6);
  }
}

}  // namespace
}  // namespace baton::model
