#include "services/router/dispatch/request_log.h"

#include <gtest/gtest.h>

#include "fmt/format.h"

namespace baton::router {
namespace {

FlightReport Report(const std::string& id) {
  FlightReport report;
  report.request = RequestId(id);
  return report;
}

TEST(RequestLogTest, KeepsTheLatestAndForgetsTheOldest) {
  RequestLog log(3);
  for (int i = 0; i < 5; ++i) log.Add(Report(fmt::format("r{}", i)));
  EXPECT_FALSE(log.Find("r1"));
  ASSERT_TRUE(log.Find("r2"));
  const auto recent = log.Recent(2);
  ASSERT_EQ(recent.size(), 2u);
  EXPECT_EQ(recent[0].request.value(), "r4");
  EXPECT_EQ(recent[1].request.value(), "r3");
}

TEST(RequestLogTest, OfAnIdThatWasUsedTwiceTheLatestIsFound) {
  RequestLog log(3);
  log.Add(Report("r"));
  FlightReport second = Report("r");
  second.state = "failed";
  log.Add(second);
  EXPECT_EQ(log.Find("r")->state, "failed");
}

TEST(FlightReportTest, ARequestIsKnownByTheIdItsClientChose) {
  const RequestId id("mine-0a1b");
  EXPECT_TRUE(IsNamed(id, "mine-0a1b"));
  EXPECT_TRUE(IsNamed(id, "mine"));
  EXPECT_FALSE(IsNamed(id, "min"));
  EXPECT_FALSE(IsNamed(id, "mine-0a1b2"));
}

TEST(FlightReportTest, KeepsTheFirstPlacementAndTheLatest) {
  FlightReport report = Report("r");
  for (int i = 0; i < 20; ++i) {
    Decision decision;
    decision.decode = WorkerId(fmt::format("d{}", i));
    report.AddPlacement(decision, absl::Milliseconds(i), absl::Milliseconds(i));
  }
  EXPECT_EQ(report.placements_total, 20);
  ASSERT_EQ(report.placements.size(), FlightReport::kPlacementsMax);
  EXPECT_EQ(report.placements.front().decision.decode.value(), "d0");
  EXPECT_EQ(report.placements[1].decision.decode.value(), "d13");
  EXPECT_EQ(report.placements.back().decision.decode.value(), "d19");
}

TEST(FlightReportTest, TheChosenCandidateIsTheOneOfBothWorkers) {
  Decision decision{.decode = WorkerId("d"), .prefill = {WorkerId("p")}};
  EXPECT_EQ(ChosenOf(decision), nullptr);
  decision.candidates = {{.decode = WorkerId("d")},
                         {.decode = WorkerId("d"), .prefill = WorkerId("p")}};
  EXPECT_EQ(ChosenOf(decision), &decision.candidates[1]);
  decision.prefill.clear();
  EXPECT_EQ(ChosenOf(decision), &decision.candidates[0]);
}

}  // namespace
}  // namespace baton::router
