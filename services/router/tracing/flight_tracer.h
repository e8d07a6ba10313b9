#pragma once

#include <memory>
#include <string>

#include "common/telemetry/tracing/span_queue.h"
#include "services/router/dispatch/flight_report.h"
#include "services/router/telemetry/request_trace.h"

namespace baton::router {

// Brings the spans of requests that have ended on their way. Thread-safe; makes nobody wait.
class FlightTracer {
 public:
  struct Options {
    TraceSampling::Options sampling;
    telemetry::SpanQueue::Options queue;
    std::string router;  // which one this is, for those that have several
  };
  // `metrics` outlives this.
  FlightTracer(const Options& options, std::unique_ptr<telemetry::SpanSink> sink,
               telemetry::Metrics& metrics)
      : router_{"baton-router", options.router},
        sampling_(options.sampling),
        queue_(options.queue, std::move(sink), metrics) {}

  // Where requests' traces begin.
  const TraceSampling& sampling() const { return sampling_; }
  void OnLanded(const FlightReport& report);
  // As SpanQueue::Close().
  void Close() { queue_.Close(); }

 private:
  const telemetry::SpanProcess router_;
  const TraceSampling sampling_;
  telemetry::SpanQueue queue_;
};

}  // namespace baton::router
