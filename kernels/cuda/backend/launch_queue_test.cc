#include "kernels/cuda/backend/launch_queue.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/activation/silu_mul.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

// Steps of two launches, of which the second reads what the first has written.
class CudaLaunchQueueTest : public ::testing::Test {
 protected:
  static constexpr size_t kTokens = 8, kIn = 32, kOut = 8;

  void SetUp() override { ASSERT_EQ(CreateStream(&stream_).value_or(""), ""); }
  void TearDown() override {
    DestroyStream(stream_);
    EXPECT_EQ(testing::Complaints(), "");
  }

  // What a step of so many tokens makes of this value.
  std::vector<float> Step(LaunchQueue& queue, float value, int32_t tokens = 2) {
    const std::vector<float> in(kTokens * kIn, value);
    EXPECT_EQ(CopyIn(in.data(), in_.data(), in.size() * sizeof(float), stream_).value_or(""), "");
    queue.Add(SiluMulArgs{
        .gate_up = in_.data(), .out = middle_.data(), .num_tokens = tokens, .intermediate = 16});
    queue.Add(SiluMulArgs{
        .gate_up = middle_.data(), .out = out_.data(), .num_tokens = tokens, .intermediate = 8});
    EXPECT_EQ(queue.Flush(testing::TestDevice(), stream_).value_or(""), "");
    EXPECT_EQ(Wait(stream_).value_or(""), "");
    std::vector<float> out = out_.ToHost();
    out.resize(size_t(tokens) * kOut);
    return out;
  }
  static std::vector<float> Want(float value, int32_t tokens = 2) {
    const auto silu_mul = [](float x) { return x / (1 + std::exp(-x)) * x; };
    return std::vector<float>(size_t(tokens) * kOut, silu_mul(silu_mul(value)));
  }
  static void ExpectNear(const std::vector<float>& got, const std::vector<float>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
  }

  Stream stream_;
  testing::DeviceArray<float> in_{kTokens * kIn}, middle_{kTokens * 16};
  testing::DeviceArray<float> out_{std::vector<float>(kTokens * kOut)};
};

TEST_F(CudaLaunchQueueTest, FromTheSecondTimeOnAStepIsAGraphAndReadsWhatIsThereThen) {
  if (!BATON_CLEARS_PADDING) GTEST_SKIP() << "with this compiler no step is sure to be known again";
  LaunchQueue queue(4);
  for (int i = 0; i < 5; ++i) ExpectNear(Step(queue, 0.5f + float(i)), Want(0.5f + float(i)));
  EXPECT_EQ(queue.counts().launches, 2u);
  EXPECT_EQ(queue.counts().graphs, 4u);
}

TEST_F(CudaLaunchQueueTest, AnotherBatchIsAnotherGraph) {
  if (!BATON_CLEARS_PADDING) GTEST_SKIP() << "with this compiler no step is sure to be known again";
  LaunchQueue queue(4);
  for (int i = 0; i < 3; ++i) {
    for (const int32_t tokens : {1, 4, 8})
      ExpectNear(Step(queue, 1.5f, tokens), Want(1.5f, tokens));
  }
  EXPECT_EQ(queue.counts().launches, 6u);
  EXPECT_EQ(queue.counts().graphs, 6u);
}

TEST_F(CudaLaunchQueueTest, StepsThatCameOnceMakeRoomBeforeGraphsDo) {
  if (!BATON_CLEARS_PADDING) GTEST_SKIP() << "with this compiler no step is sure to be known again";
  LaunchQueue queue(2);
  for (int i = 0; i < 2; ++i) Step(queue, 1, 1);
  for (const int32_t tokens : {2, 3, 4, 5}) ExpectNear(Step(queue, 2, tokens), Want(2, tokens));
  ASSERT_EQ(queue.counts().graphs, 1u);
  Step(queue, 1, 1);
  EXPECT_EQ(queue.counts().graphs, 2u) << "the graph of one token is gone";
  for (int i = 0; i < 2; ++i) ExpectNear(Step(queue, 3, 6), Want(3, 6));
  ExpectNear(Step(queue, 3, 7), Want(3, 7));  // the older graph goes
  ExpectNear(Step(queue, 4, 1), Want(4, 1));
}

TEST_F(CudaLaunchQueueTest, WithoutGraphsLaunchesGoOneByOne) {
  LaunchQueue queue(0);
  for (int i = 0; i < 3; ++i) ExpectNear(Step(queue, 2), Want(2));
  EXPECT_EQ(queue.counts().graphs, 0u);
  EXPECT_EQ(queue.counts().launches, 6u);
}

TEST_F(CudaLaunchQueueTest, NothingIsDoneBeforeTheFlush) {
  LaunchQueue queue(4);
  Step(queue, 1);
  const std::vector<float> before = out_.ToHost();
  queue.Add(
      SiluMulArgs{.gate_up = in_.data(), .out = out_.data(), .num_tokens = 1, .intermediate = 8});
  EXPECT_EQ(out_.ToHost(), before);
  EXPECT_EQ(queue.Flush(testing::TestDevice(), stream_).value_or(""), "");
  EXPECT_EQ(Wait(stream_).value_or(""), "");
  EXPECT_NE(out_.ToHost(), before);
}

}  // namespace
}  // namespace baton::kernels::cuda
