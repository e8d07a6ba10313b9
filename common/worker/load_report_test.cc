#include "common/worker/load_report.h"

#include <gtest/gtest.h>

#include <vector>

namespace baton::worker {
namespace {

TEST(LoadReportTest, ThereIsOneLinePerTenth) {
  ManualClock clock;
  LoadReport report(clock);
  clock.Advance(absl::Seconds(1));
  std::vector<int> percents;
  for (int64_t done = 1; done <= 1000; ++done) {
    if (const auto line = report.After(done, 1000)) percents.push_back(line->percent);
  }
  EXPECT_EQ(percents, (std::vector<int>{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100}));
}

TEST(LoadReportTest, AQuickLoadIsNotTalkedOf) {
  ManualClock clock;
  LoadReport report(clock);
  for (int64_t done = 1; done <= 1000; ++done) {
    clock.Advance(absl::Microseconds(999));
    EXPECT_FALSE(report.After(done, 1000));
  }
}

TEST(LoadReportTest, ASlowLoadIsNotSilentForLong) {
  ManualClock clock;
  LoadReport report(clock);
  clock.Advance(absl::Seconds(1));
  ASSERT_TRUE(report.After(10, 1000));
  clock.Advance(absl::Milliseconds(4999));
  EXPECT_FALSE(report.After(20, 1000));
  clock.Advance(absl::Milliseconds(1));
  const auto line = report.After(30, 1000);
  ASSERT_TRUE(line);
  EXPECT_EQ(line->percent, 3);
  EXPECT_FALSE(report.After(40, 1000)) << "five seconds from that line on";
}

TEST(LoadReportTest, TheRateIsOfTheWholeLoad) {
  ManualClock clock;
  LoadReport report(clock);
  clock.Advance(absl::Seconds(2));
  const auto line = report.After(3'000'000'000, 4'000'000'000);
  ASSERT_TRUE(line);
  EXPECT_EQ(line->done_bytes, 3'000'000'000);
  EXPECT_EQ(line->total_bytes, 4'000'000'000);
  EXPECT_DOUBLE_EQ(line->gigabytes_per_second, 1.5);
}

TEST(LoadReportTest, AModelOfNothingIsLoaded) {
  ManualClock clock;
  LoadReport report(clock);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(report.After(0, 0)->percent, 100);
}

}  // namespace
}  // namespace baton::worker
