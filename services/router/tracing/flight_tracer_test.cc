#include "services/router/tracing/flight_tracer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::router {
namespace {

using testing::HasSubstr;

// Counts requests: each has one span of that name.
class CountingSink : public telemetry::SpanSink {
 public:
  explicit CountingSink(int& requests) : requests_(requests) {}
  absl::Status Send(std::span<const telemetry::Span> spans) override {
    for (const telemetry::Span& span : spans) requests_ += span.name == "request";
    return absl::OkStatus();
  }

 private:
  int& requests_;
};

class FlightTracerTest : public testing::Test {
 protected:
  // How many of these reports leave a trace.
  int Traced(const TraceSampling::Options& sampling, std::vector<FlightReport> reports) {
    int requests = 0;
    FlightTracer tracer({.sampling = sampling, .queue = {}, .router = "router-1"},
                        std::make_unique<CountingSink>(requests), metrics_);
    for (FlightReport& report : reports) {
      report.trace = tracer.sampling().Begin("", "");
      tracer.OnLanded(report);
    }
    tracer.Close();
    return requests;
  }

  telemetry::Metrics metrics_;
};

FlightReport Ended(std::string_view state, absl::Duration total = absl::Milliseconds(1)) {
  FlightReport report;
  report.request = RequestId("r");
  report.state = state;
  report.total = total;
  return report;
}

TEST_F(FlightTracerTest, WithRatioZeroOnlyErrorsAndSlowRequestsLeaveATrace) {
  EXPECT_EQ(Traced({.ratio = 0, .slow = absl::Seconds(1)},
                   {Ended("completed"), Ended("cancelled"), Ended("failed"),
                    Ended("completed", absl::Seconds(2))}),
            2);
}

TEST_F(FlightTracerTest, WithRatioOneAllDo) {
  EXPECT_EQ(Traced({.ratio = 1}, {Ended("completed"), Ended("cancelled"), Ended("failed")}), 3);
}

TEST_F(FlightTracerTest, ARequestWithoutATraceLeavesNone) {
  int requests = 0;
  FlightTracer tracer({.sampling = {.ratio = 1}, .queue = {}, .router = "router-1"},
                      std::make_unique<CountingSink>(requests), metrics_);
  tracer.OnLanded(Ended("failed"));
  tracer.Close();
  EXPECT_EQ(requests, 0);
}

TEST_F(FlightTracerTest, WhatDoesNotFitIsDroppedWholeAndCounted) {
  int requests = 0;
  FlightTracer tracer({.sampling = {.ratio = 1}, .queue = {.spans_max = 1}, .router = "router-1"},
                      std::make_unique<CountingSink>(requests), metrics_);
  FlightReport report = Ended("completed");
  report.trace = tracer.sampling().Begin("", "");
  tracer.OnLanded(report);  // request and tokenize
  tracer.Close();
  EXPECT_EQ(requests, 0);
  EXPECT_THAT(metrics_.Text(), HasSubstr("baton_trace_spans_total{outcome=\"dropped\"} 2"));
}

}  // namespace
}  // namespace baton::router
