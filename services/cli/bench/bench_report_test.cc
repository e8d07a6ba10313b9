#include "services/cli/bench/bench_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::cli {
namespace {

Outcome Good(int ttft_ms, int e2e_ms, int tokens) {
  Outcome outcome{
      .ok = true, .ttft = absl::Milliseconds(ttft_ms), .e2e = absl::Milliseconds(e2e_ms)};
  outcome.output_tokens = tokens;
  outcome.prompt_tokens = 100;
  outcome.cached_tokens = 25;
  return outcome;
}

TEST(BenchReportTest, QuantilesAreTheNearestRanks) {
  std::vector<absl::Duration> values;
  for (int i = 100; i >= 1; --i) values.push_back(absl::Milliseconds(i));
  const Quantiles q = QuantilesOf(values);
  EXPECT_EQ(q.p50, 50);
  EXPECT_EQ(q.p90, 90);
  EXPECT_EQ(q.p99, 99);
  EXPECT_EQ(q.max, 100);
  EXPECT_EQ(q.mean, 50.5);
  EXPECT_EQ(QuantilesOf({absl::Milliseconds(7)}).p50, 7);
  EXPECT_EQ(QuantilesOf({}).count, 0u);
}

TEST(BenchReportTest, GoodputCountsFailedAndSlowRequestsAsBad) {
  BenchOptions options;
  options.slo_ttft = absl::Milliseconds(50);
  options.slo_itl = absl::Milliseconds(10);
  LoadResult result{.measured = absl::Seconds(2)};
  result.outcomes = {Good(40, 40 + 9 * 10, 11),   // good: TPOT 9 ms
                     Good(60, 60 + 9 * 10, 11),   // late first token
                     Good(40, 40 + 11 * 10, 11),  // TPOT 11 ms
                     Outcome{.error = "overloaded", .error_message = "queue full"}};
  const BenchReport report = MakeReport(result, options);
  EXPECT_EQ(report.requests, 4u);
  EXPECT_EQ(report.completed, 3u);
  EXPECT_EQ(report.errors.at("overloaded"), 1u);
  EXPECT_EQ(report.goodput, 0.5);
  EXPECT_EQ(report.good_share, 0.25);
  EXPECT_EQ(report.request_rate, 1.5);
  EXPECT_EQ(report.cached_share, 0.25);
  EXPECT_EQ(report.tpot.max, 11);
}

TEST(BenchReportTest, TheWarmUpIsNotCounted) {
  LoadResult result{.measured = absl::Seconds(1)};
  result.outcomes = {Good(40, 80, 2), Good(10, 20, 2)};
  result.outcomes[0].counted = false;
  const BenchReport report = MakeReport(result, {});
  EXPECT_EQ(report.requests, 1u);
  EXPECT_EQ(report.ttft.max, 10);
}

TEST(BenchReportTest, EveryRequestIsALineInTheOrderInWhichTheyWereDue) {
  LoadResult result;
  result.outcomes = {Good(12, 30, 3), Outcome{.error = "overloaded"}};
  result.outcomes[0].begun = absl::Milliseconds(700);
  const std::string lines = LinesOf(result);
  const size_t end = lines.find('\n');
  const auto first = nlohmann::json::parse(lines.substr(0, end));
  const auto second = nlohmann::json::parse(lines.substr(end + 1));
  EXPECT_EQ(first["error"], "overloaded");
  EXPECT_EQ(second["begun_ms"], 700.0);
  EXPECT_EQ(second["e2e_ms"], 30.0);
}

TEST(BenchReportTest, TableAndJsonSayTheSame) {
  LoadResult result{.measured = absl::Seconds(1)};
  result.outcomes = {Good(12, 30, 3)};
  const BenchReport report = MakeReport(result, {});
  EXPECT_THAT(TableOf(report, {}), testing::HasSubstr("12.00"));
  EXPECT_EQ(JsonOf(report, {})["ttft_ms"]["p50"], 12.0);
  EXPECT_EQ(JsonOf(report, {})["output_tokens_per_second"], 3.0);
}

}  // namespace
}  // namespace baton::cli
