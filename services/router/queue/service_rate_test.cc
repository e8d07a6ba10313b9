#include "services/router/queue/service_rate.h"

#include <gtest/gtest.h>

namespace baton::router {
namespace {

TEST(ServiceRateTest, CountsOnlyTheTimeInWhichSomebodyWaits) {
  ServiceRate rate(absl::Hours(1));
  absl::Duration now = absl::Seconds(10);
  for (int i = 0; i < 20; ++i) {
    rate.SetBusy(true, now);
    now += absl::Milliseconds(100);
    rate.Count(now);
    rate.SetBusy(false, now);
    now += absl::Seconds(7);  // nobody's business
  }
  EXPECT_NEAR(rate.PerSecond(now), 10, 0.01);
}

TEST(ServiceRateTest, SaysNothingBeforeItKnowsAnything) {
  ServiceRate rate;
  absl::Duration now = absl::Seconds(10);
  rate.SetBusy(true, now);
  for (int i = 0; i < 3; ++i) {
    now += absl::Seconds(1);
    rate.Count(now);
    EXPECT_EQ(rate.PerSecond(now), 0);
  }
}

TEST(ServiceRateTest, FollowsAChangeAndAStandstill) {
  ServiceRate rate(absl::Seconds(10));
  absl::Duration now = absl::Seconds(10);
  rate.SetBusy(true, now);
  for (int i = 0; i < 1000; ++i) rate.Count(now += absl::Milliseconds(10));
  EXPECT_NEAR(rate.PerSecond(now), 100, 1);
  for (int i = 0; i < 60; ++i) rate.Count(now += absl::Seconds(1));
  EXPECT_NEAR(rate.PerSecond(now), 1, 0.4);
  EXPECT_LT(rate.PerSecond(now + absl::Seconds(30)), 0.1);
}

}  // namespace
}  // namespace baton::router
