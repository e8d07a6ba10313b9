#include "common/model/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::model {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(DeviceTest, AutoIsTheBestThatTheMachineHas) {
  const auto backend = OpenDevice({});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_THAT((*backend)->name(), StartsWith("cpu:"));
}

TEST(DeviceTest, ScalarIsTheReference) {
  const auto backend = OpenDevice({.isa = "scalar"});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "reference");
}

TEST(DeviceTest, WhatTheBuildLacksIsNamedWithWhatItHas) {
  EXPECT_THAT(MessageOf(OpenDevice({.device = "tpu"}).status()), HasSubstr("device is \"tpu\""));
  EXPECT_THAT(MessageOf(OpenDevice({.isa = "sse9"}).status()), HasSubstr("isa is \"sse9\""));
  EXPECT_THAT(MessageOf(OpenDevice({.threads = -1}).status()), HasSubstr("threads is -1"));
}

}  // namespace
}  // namespace baton::model
