#include "kernels/cuda/sampling/sample_tokens.h"

#include <cmath>
#include <limits>

#include "kernels/cuda/sampling/sample_tokens_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::OwnedArgs;
using kernels::testing::Random;
using testing::ExpectRuns;
using testing::InEveryOrder;
using testing::SampleWorld;

void ExpectTheHostsTokens(SampleWorld& world) {
  ExpectRuns(world.Args());
  const std::vector<int32_t> got = world.Result(), want = world.Want();
  for (size_t i = 0; i < want.size(); ++i) {
    const SampleArgs& args = world.sample(i);
    ASSERT_EQ(got[i], want[i]) << "sample " << i << ", V " << world.vocabulary() << ", T "
                               << args.temperature << " k " << args.top_k << " p " << args.top_p
                               << " min_p " << args.min_p;
  }
}

// One row of logits for each of `samples`.
SampleWorld WorldOf(const std::vector<float>& logits, const std::vector<SampleArgs>& samples) {
  SampleWorld world(int32_t(logits.size()));
  for (const SampleArgs& args : samples) world.Add(logits, OwnedArgs{.args = args});
  return world;
}

TEST(CudaSampleTokensTest, ARowGetsTheHostsTokenWhateverItsArguments) {
  InEveryOrder([] {
    Random random(1);
    for (int round = 0; round < 25; ++round) {
      SampleWorld world(random.Int(0, 2) == 0 ? random.Int(1, 8) : random.Int(20, 1500));
      for (int i = 0; i < 8; ++i) world.AddRandom(random);
      ExpectTheHostsTokens(world);
    }
  });
}

TEST(CudaSampleTokensTest, ManyEqualLogitsAreDrawnInOrderOfTheirIds) {
  std::vector<SampleArgs> samples;
  for (uint64_t draw = 0; draw < 3; ++draw) samples.push_back({.draw = draw});
  samples.push_back({.top_k = 1500, .draw = 4});
  samples.push_back({.top_p = 0.3f, .draw = 5});
  samples.push_back({.top_k = 2000, .top_p = 0.9f, .min_p = 1, .draw = 6});
  SampleWorld world = WorldOf(std::vector<float>(2300, -1.5f), samples);
  ExpectTheHostsTokens(world);
}

TEST(CudaSampleTokensTest, ManyLogitsOfOneBucketAreToldApart) {
  Random random(2);
  std::vector<float> logits = random.Floats(3000, 1e-3f);
  for (size_t i = 0; i < logits.size(); i += 7) logits[i] = i % 2 == 0 ? 0.0f : -0.0f;
  std::vector<SampleArgs> samples;
  for (uint64_t draw = 0; draw < 3; ++draw) {
    samples.push_back({.top_k = random.Int(1, 3000), .draw = draw});
    samples.push_back({.top_p = random.Float() > 0 ? 0.7f : 0.2f, .draw = draw});
  }
  SampleWorld world = WorldOf(logits, samples);
  ExpectTheHostsTokens(world);
}

TEST(CudaSampleTokensTest, AVocabularyLargerThanABlocksThreadsIsWalkedWhole) {
  Random random(3);
  SampleWorld world(20'011);
  for (int i = 0; i < 4; ++i) {
    world.Add(random.Floats(20'011, 3),
              {.args = {.temperature = 0.5f + float(i), .top_p = 0.95f, .seed = uint64_t(i)}});
  }
  ExpectTheHostsTokens(world);
}

TEST(CudaSampleTokensTest, GreedyTakesTheLowestIdOnTies) {
  for (const int32_t vocabulary : {1, 31, 33, 1000}) {
    std::vector<float> logits(size_t(vocabulary), -3.5f);
    for (const int32_t at : {vocabulary - 1, vocabulary / 2, 0}) {
      logits[size_t(at)] = 2;
      SampleWorld world = WorldOf(logits, {{.temperature = 0}});
      ExpectRuns(world.Args());
      EXPECT_EQ(world.Result()[0], at);
    }
  }
}

TEST(CudaSampleTokensTest, WhatIsNotANumberIsNeverDrawn) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  for (const std::vector<float>& logits : {std::vector<float>{nan, 1, nan, 2, -kInfinity},
                                           {nan, -kInfinity},
                                           {1, kInfinity, 3},
                                           {-kInfinity, -kInfinity}}) {
    std::vector<SampleArgs> samples = {{.temperature = 0}};
    for (uint64_t draw = 0; draw < 6; ++draw) samples.push_back({.top_p = 0.9f, .draw = draw});
    SampleWorld world = WorldOf(logits, samples);
    ExpectTheHostsTokens(world);
    EXPECT_FALSE(std::isnan(logits[size_t(world.Result()[1])]));
  }
}

TEST(CudaSampleTokensTest, RowsOfTheMatrixMayComeInAnyOrder) {
  Random random(4);
  SampleWorld world(50);
  for (int i = 0; i < 5; ++i) world.Add(random.Floats(50, 2), {.args = {.draw = uint64_t(i)}});
  world.Reverse();
  ExpectTheHostsTokens(world);
}

TEST(CudaSampleTokensTest, SamplesWithoutPenaltiesMayShareARow) {
  Random random(5);
  SampleWorld world(200);
  world.Add(random.Floats(200, 1), {});
  for (uint64_t draw = 1; draw < 8; ++draw) world.AddToFirstRow({.draw = draw});
  ExpectTheHostsTokens(world);
}

TEST(CudaSampleTokensTest, WhatTheDeviceDoesNotDoIsKnown) {
  EXPECT_TRUE(IsForDevice({}));
  EXPECT_FALSE(IsForDevice({.given = 3}));
  EXPECT_FALSE(IsForDevice({.num_logprobs = 0}));
}

}  // namespace
}  // namespace baton::kernels::cuda
