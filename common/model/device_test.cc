#include "common/model/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda.h"

namespace baton::model {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST(DeviceTest, AutoIsAGpuOrSaysWhyItIsTheBestOfTheCpu) {
  const auto opened = OpenDevice({});
  ASSERT_TRUE(opened.ok()) << opened.status();
  if (opened->why_no_gpu.empty()) {
    EXPECT_THAT(opened->backend->name(), StartsWith("cuda:"));
    EXPECT_THAT(kernels::ProbeCuda().devices, Not(IsEmpty()));
  } else {
    EXPECT_THAT(opened->backend->name(), StartsWith("cpu:"));
  }
}

TEST(DeviceTest, TheCpuIsTakenWhenItIsAskedFor) {
  for (const DeviceOptions& options :
       {DeviceOptions{.kind = DeviceKind::kCpu}, DeviceOptions{.isa = "avx2"}}) {
    const auto opened = OpenDevice(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_THAT(opened->backend->name(), StartsWith("cpu:"));
    EXPECT_EQ(opened->why_no_gpu, "");
  }
}

TEST(DeviceTest, ScalarIsTheReference) {
  const auto opened = OpenDevice({.isa = "scalar"});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->backend->name(), "reference");
}

TEST(DeviceTest, AGpuThatIsNotThereIsNamedWithTheReason) {
  const auto opened = OpenDevice({.kind = DeviceKind::kCuda, .cuda_index = 63});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition);
  const kernels::CudaProbe probe = kernels::ProbeCuda();
  EXPECT_THAT(MessageOf(opened.status()), StartsWith("device is \"cuda:63\": "));
  EXPECT_THAT(MessageOf(opened.status()),
              HasSubstr(probe.devices.empty() ? probe.why_none : "this machine has"));
}

TEST(DeviceTest, WhatTheBuildLacksIsNamedWithWhatItHas) {
  EXPECT_THAT(MessageOf(OpenDevice({.isa = "sse9"}).status()), HasSubstr("isa is \"sse9\""));
  EXPECT_THAT(MessageOf(OpenDevice({.threads = -1}).status()), HasSubstr("threads is -1"));
}

TEST(DeviceGroupTest, RanksOnTheCpuShareItsThreadsAndAreJoined) {
  const auto group = OpenDevices({.kind = DeviceKind::kCpu, .threads = 5}, 2);
  ASSERT_TRUE(group.ok()) << group.status();
  const std::vector<RankDevice> ranks = group->ranks();
  ASSERT_EQ(ranks.size(), 2u);
  EXPECT_NE(ranks[0].backend, ranks[1].backend);
  EXPECT_EQ(ranks[1].collective->rank(), 1);
  EXPECT_EQ(ranks[1].collective->size(), 2);
}

TEST(DeviceGroupTest, OneRankIsADeviceThatIsJoinedToNothing) {
  const auto group = OpenDevices({.kind = DeviceKind::kCpu}, 1);
  ASSERT_TRUE(group.ok()) << group.status();
  ASSERT_EQ(group->ranks().size(), 1u);
  EXPECT_EQ(group->ranks()[0].collective, nullptr);
}

TEST(DeviceGroupTest, AutoWithTooFewGpusIsTheCpuAndSaysWhy) {
  const auto group = OpenDevices({}, 64);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->backends.size(), 64u);
  EXPECT_THAT(group->why_no_gpu, HasSubstr("tensor_parallel_size is 64"));
}

TEST(DeviceGroupTest, WhatCannotBeIsNamedWithItsNumbers) {
  EXPECT_THAT(MessageOf(OpenDevices({}, 0).status()), HasSubstr("tensor_parallel_size is 0"));
  EXPECT_THAT(MessageOf(OpenDevices({.kind = DeviceKind::kCuda}, 64).status()),
              HasSubstr("tensor_parallel_size is 64"));
  EXPECT_THAT(
      MessageOf(OpenDevices({.kind = DeviceKind::kCuda, .deterministic = true}, 4).status()),
      HasSubstr("with deterministic"));
  EXPECT_THAT(MessageOf(OpenDevices({.kind = DeviceKind::kCpu, .threads = -1}, 2).status()),
              HasSubstr("threads is -1"));
}

}  // namespace
}  // namespace baton::model
