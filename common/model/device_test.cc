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

}  // namespace
}  // namespace baton::model
