#include "services/cli/up/cluster_view.h"

#include "gtest/gtest.h"

namespace baton::cli {
namespace {

TEST(ClusterViewTest, WorkersAreKnownByTheNameTheyWereGiven) {
  ClusterView view;
  ReadDebugPage(R"({"workers": [{"id": "decode-0@af3", "load": {"running": 2, "kv_bytes": 4096},
                                 "reachable": true},
                                {"id": "prefill-0@bb1", "reachable": 3}]})",
                view);
  ASSERT_EQ(view.workers.size(), 2u);
  EXPECT_EQ(view.workers.at("decode-0").running, 2);
  EXPECT_EQ(view.workers.at("decode-0").kv_bytes, 4096);
  EXPECT_TRUE(view.workers.at("decode-0").reachable);
  EXPECT_FALSE(view.workers.at("prefill-0").reachable);
}

TEST(ClusterViewTest, PagesOfAnotherShapeAreIgnored) {
  ClusterView view;
  for (const char* page : {"", "[]", "{", "{\"workers\": 3}", "{\"workers\": [1, {\"id\": 2}]}"}) {
    ReadDebugPage(page, view);
  }
  EXPECT_TRUE(view.workers.empty());
}

TEST(ClusterViewTest, FiguresComeFromTheMetricsPage) {
  ClusterView view;
  ReadMetricsPage(
      "baton_requests_total{outcome=\"completed\"} 5\nbaton_requests_total{outcome=\"failed\"} 1\n"
      "baton_request_ttft_seconds_bucket{le=\"0.01\"} 4\n"
      "baton_request_ttft_seconds_bucket{le=\"+Inf\"} 4\n",
      view);
  EXPECT_EQ(view.requests, 6);
  EXPECT_DOUBLE_EQ(*view.ttft_p50_seconds, 0.005);
  EXPECT_FALSE(view.itl_p50_seconds.has_value());
}

}  // namespace
}  // namespace baton::cli
