#include "services/router/telemetry/request_trace.h"

#include "gtest/gtest.h"

namespace baton::router {
namespace {

constexpr char kSampled[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kNotSampled[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const TraceSampling::Outcome kQuickAndWell = {.ttft = absl::Milliseconds(10),
                                              .total = absl::Milliseconds(50)};

TEST(RequestTraceTest, AClientsContextIsGoneOnFrom) {
  const RequestTrace trace = TraceSampling({}).Begin(kSampled, "vendor=x");
  EXPECT_EQ(telemetry::TraceIdText(trace.root.trace), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(trace.root.state, "vendor=x");
  const auto client = telemetry::ParseTraceContext(kSampled, "");
  ASSERT_TRUE(client.has_value());
  EXPECT_EQ(trace.parent, client->span);
  EXPECT_NE(trace.root.span, client->span);
}

TEST(RequestTraceTest, WithoutAContextATraceBegins) {
  for (const char* none : {"", "nonsense"}) {
    const RequestTrace trace = TraceSampling({}).Begin(none, "");
    EXPECT_NE(trace.root.trace, telemetry::TraceId{});
    EXPECT_EQ(trace.parent, telemetry::SpanId{});
  }
}

TEST(RequestTraceTest, TheRatioDecidesOnlyWhereTheClientHasNot) {
  const TraceSampling none({.ratio = 0});
  EXPECT_EQ(none.WhyKept(none.Begin("", ""), kQuickAndWell), "");
  EXPECT_EQ(none.WhyKept(none.Begin(kSampled, ""), kQuickAndWell), "client");
  const TraceSampling all({.ratio = 1});
  EXPECT_EQ(all.WhyKept(all.Begin("", ""), kQuickAndWell), "ratio");
  EXPECT_EQ(all.WhyKept(all.Begin(kNotSampled, ""), kQuickAndWell), "");
}

TEST(RequestTraceTest, ErrorsAndSlowOnesAreKeptWhoeverDecided) {
  const TraceSampling sampling(
      {.ratio = 0, .slow = absl::Seconds(2), .slow_ttft = absl::Seconds(1)});
  for (const char* traceparent : {"", kNotSampled}) {
    const RequestTrace trace = sampling.Begin(traceparent, "");
    EXPECT_EQ(sampling.WhyKept(trace, kQuickAndWell), "");
    EXPECT_EQ(sampling.WhyKept(trace, {.failed = true}), "error");
    EXPECT_EQ(sampling.WhyKept(trace, {.total = absl::Seconds(3)}), "slow");
    EXPECT_EQ(sampling.WhyKept(
                  trace, {.ttft = absl::Milliseconds(1500), .total = absl::Milliseconds(1600)}),
              "slow_ttft");
  }
}

TEST(RequestTraceTest, NothingIsSlowWhereNothingWasSaidOfIt) {
  const TraceSampling sampling({.ratio = 0});
  EXPECT_EQ(
      sampling.WhyKept(sampling.Begin("", ""), {.ttft = absl::Hours(1), .total = absl::Hours(2)}),
      "");
}

}  // namespace
}  // namespace baton::router
