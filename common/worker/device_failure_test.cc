#include "common/worker/device_failure.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace baton::worker {
namespace {

TEST(DeviceFailureDeathTest, TheWorkerTellsAndEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  DeviceFailure failure;
  failure.set_tell([] { std::fprintf(stderr, "told\n"); });
  EXPECT_EXIT(failure.End("cudaStreamSynchronize: an illegal memory access was encountered"),
              testing::ExitedWithCode(1), "told");
}

TEST(DeviceFailureDeathTest, NobodyIsToldWhoIsGone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  DeviceFailure failure;
  failure.set_tell([] { std::abort(); });
  failure.set_tell(nullptr);
  EXPECT_EXIT(failure.End("out of memory"), testing::ExitedWithCode(1), "");
}

}  // namespace
}  // namespace baton::worker
