#include "common/telemetry/metrics.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::telemetry {
namespace {

using testing::HasSubstr;

TEST(MetricsTest, TheTextHasHelpTypeLabelsAndValue) {
  Metrics metrics(Labels{{"role", "decode"}});
  metrics.AddCounter("baton_requests_total", "Requests.", {{"outcome", "completed"}}).Increment(3);
  metrics.AddHistogram("baton_request_ttft_seconds", "TTFT.", TtftBuckets()).Observe(0.004);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("# HELP baton_requests_total Requests."));
  EXPECT_THAT(text, HasSubstr("# TYPE baton_requests_total counter"));
  EXPECT_THAT(text, HasSubstr("baton_requests_total{role=\"decode\",outcome=\"completed\"} 3"));
  EXPECT_THAT(text, HasSubstr("baton_request_ttft_seconds_bucket{role=\"decode\",le=\"0.005\"} 1"));
}

TEST(MetricsTest, TheSameNameAndLabelsAreTheSameMetric) {
  Metrics metrics;
  Counter& a = metrics.AddCounter("baton_x_total", "X.", {{"k", "v"}});
  EXPECT_EQ(&a, &metrics.AddCounter("baton_x_total", "X.", {{"k", "v"}}));
  EXPECT_NE(&a, &metrics.AddCounter("baton_x_total", "X.", {{"k", "w"}}));
}

TEST(MetricsTest, MirrorsAreFreshInEveryExposition) {
  Metrics metrics;
  Gauge& gauge = metrics.AddGauge("baton_blocks_free", "Free KV blocks.");
  int free = 1;
  metrics.BeforeExposition([&] { gauge.Set(free); });
  EXPECT_THAT(metrics.Text(), HasSubstr("baton_blocks_free 1"));
  free = 7;
  EXPECT_THAT(metrics.Text(), HasSubstr("baton_blocks_free 7"));
}

TEST(MetricsTest, ACounterIsOnlyEverRaised) {
  Metrics metrics;
  Counter& counter = metrics.AddCounter("baton_bytes_total", "Bytes.");
  RaiseTo(counter, 10);
  RaiseTo(counter, 4);
  EXPECT_EQ(counter.Value(), 10);
}

TEST(MetricsPageTest, TheSecondOnTheSamePortIsRefusedByName) {
  Metrics metrics;
  auto first = MetricsPage::Listen("127.0.0.1:0", metrics);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_GT((*first)->port(), 0);
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  auto second = MetricsPage::Listen(address, metrics);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(MessageOf(second.status()), HasSubstr(address));
}

}  // namespace
}  // namespace baton::telemetry
