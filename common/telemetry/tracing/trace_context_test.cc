#include "common/telemetry/tracing/trace_context.h"

#include <set>

#include "common/telemetry/tracing/span_sink.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::telemetry {
namespace {

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContextTest, WhatIsReadIsWrittenAgain) {
  const auto context = ParseTraceContext(kParent, "vendor=x,other=y");
  ASSERT_TRUE(context.has_value());
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(context->state, "vendor=x,other=y");
  EXPECT_EQ(TraceIdText(context->trace), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(Traceparent(*context), kParent);
}

TEST(TraceContextTest, TheFlagSaysWhetherItIsSampled) {
  const auto context =
      ParseTraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "");
  ASSERT_TRUE(context.has_value());
  EXPECT_FALSE(context->sampled);
  EXPECT_TRUE(Traceparent(*context).ends_with("-00"));
}

TEST(TraceContextTest, WhatIsNotWellFormedIsNoContext) {
  for (const char* wrong : {"", "x", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
                            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"}) {
    EXPECT_FALSE(ParseTraceContext(wrong, "").has_value()) << wrong;
  }
}

TEST(TraceContextTest, ALaterVersionIsReadAsFarAsItIsKnown) {
  EXPECT_TRUE(
      ParseTraceContext("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "").has_value());
}

TEST(TraceContextTest, AStateThatIsNotWellFormedIsLeftOut) {
  const auto context = ParseTraceContext(kParent, "no equals sign");
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->state, "");
}

TEST(TraceContextTest, NewIdsAreNeitherZeroNorEqual) {
  std::set<TraceId> traces{TraceId{}};
  std::set<SpanId> spans{SpanId{}};
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(traces.insert(NewTraceId()).second);
    EXPECT_TRUE(spans.insert(NewSpanId()).second);
  }
}

TEST(TraceContextTest, TheRatioIsKeptOverManyTracesAndIsTheSameForOne) {
  int kept = 0;
  for (int i = 0; i < 4000; ++i) {
    const TraceId trace = NewTraceId();
    EXPECT_FALSE(SampledByRatio(trace, 0));
    EXPECT_TRUE(SampledByRatio(trace, 1));
    const bool sampled = SampledByRatio(trace, 0.25);
    EXPECT_EQ(SampledByRatio(trace, 0.25), sampled);
    EXPECT_TRUE(!sampled || SampledByRatio(trace, 0.5)) << "whoever keeps more keeps these";
    kept += sampled;
  }
  EXPECT_NEAR(kept, 1000, 150);  // five standard deviations are 137
}

TEST(OtlpTest, AnEndpointSaysHowItIsSpokenTo) {
  EXPECT_EQ(OpenOtlp({.endpoint = "collector:4317"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenOtlp({.endpoint = "https://collector:4318"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(OtlpTest, ACollectorThatIsNotThereIsAnErrorOfTheSendWithItsAddress) {
  for (const std::string endpoint : {"grpc://127.0.0.1:1", "http://127.0.0.1:1"}) {
    auto sink = OpenOtlp({.endpoint = endpoint});
    ASSERT_TRUE(sink.ok()) << sink.status();
    Span span{.trace = NewTraceId(), .id = NewSpanId(), .name = "alone", .start = absl::Now()};
    const absl::Status sent = (*sink)->Send({&span, 1});
    EXPECT_EQ(sent.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(sent.message()), testing::HasSubstr(endpoint));
  }
}

}  // namespace
}  // namespace baton::telemetry
