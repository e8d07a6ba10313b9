#include "common/process/stop_signal.h"

#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(StopSignal, IsWaitedForOnceForEachThatCame) {
  StopSignal stop;
  EXPECT_FALSE(stop.WaitFor(absl::ZeroDuration()));
  raise(SIGTERM);  // nobody waits: it is kept
  EXPECT_TRUE(stop.WaitFor(absl::Minutes(1)));
  EXPECT_FALSE(stop.WaitFor(absl::ZeroDuration()));
  raise(SIGINT);
  EXPECT_TRUE(stop.WaitFor(absl::Minutes(1)));
}

TEST(StopSignal, IsRaisedAtMostOnce) {
  StopSignal stop;
  stop.Raise();
  stop.Raise();
  EXPECT_EQ(stop.Wait(), SIGTERM);
  stop.Raise();  // would end the test: Wait() has let signals through
}

}  // namespace
}  // namespace baton
