#include "common/concurrency/ticker.h"

#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/notification.h"

namespace baton {
namespace {

TEST(TickerTest, TicksUntilItIsStopped) {
  std::atomic<int> ticks = 0;
  absl::Notification third;
  Ticker ticker(absl::Milliseconds(1), [&] {
    if (++ticks == 3) third.Notify();
  });
  EXPECT_TRUE(third.WaitForNotificationWithTimeout(absl::Seconds(20)));
  ticker.Stop();
  const int after = ticks;
  ticker.Stop();  // twice does no harm
  EXPECT_EQ(ticks, after);
}

TEST(TickerTest, StopDoesNotWaitForThePause) {
  std::atomic<int> ticks = 0;
  Ticker ticker(absl::Hours(1), [&] { ++ticks; });
  ticker.Stop();
  EXPECT_EQ(ticks, 0);
}

}  // namespace
}  // namespace baton
