#include "common/telemetry/metrics_text.h"

#include "gtest/gtest.h"

namespace baton::telemetry {
namespace {

TEST(MetricsTextTest, SeriesOfOneNameAreAddedUp) {
  const MetricsText page("# HELP x y\nx_total{a=\"b\"} 3\nx_total{a=\"c d\"} 4\nx_total_more 9\n");
  EXPECT_EQ(page.Sum("x_total"), 7);
  EXPECT_EQ(page.Sum("nothing"), 0);
}

TEST(MetricsTextTest, ALabelChoosesAmongThem) {
  const MetricsText page(
      "x_total{model=\"b\"} 3\nx_total{a=\"c\",model=\"b\"} 4\nx_total{other_model=\"b\"} 9\n"
      "x_total{model=\"bb\"} 9\nx_total 9\ny_total{model=\"b\"} 9\n");
  EXPECT_EQ(page.Sum("x_total", "model", "b"), 7);
  EXPECT_EQ(page.Sum("x_total", "model", "c"), 0);
}

TEST(MetricsTextTest, QuantilesAreInterpolatedInTheirBucket) {
  const MetricsText page(
      "t_bucket{le=\"0.1\"} 0\nt_bucket{le=\"0.2\"} 10\nt_bucket{le=\"0.4\"} "
      "10\nt_bucket{le=\"+Inf\"} 10\n");
  EXPECT_DOUBLE_EQ(*page.Quantile("t", 0.5), 0.15);
  EXPECT_FALSE(page.Quantile("u", 0.5).has_value());
  EXPECT_FALSE(MetricsText("t_bucket{le=\"+Inf\"} 0\n").Quantile("t", 0.5).has_value());
}

TEST(MetricsTextTest, BrokenPagesAreHarmless) {
  EXPECT_EQ(MetricsText("x\n\n{} \n x{le=\"").Sum("x"), 0);
}

}  // namespace
}  // namespace baton::telemetry
