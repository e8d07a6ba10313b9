#include "services/router/tracing/flight_tracer.h"

#include "services/router/tracing/flight_spans.h"

namespace baton::router {

void FlightTracer::OnLanded(const FlightReport& report) {
  if (!report.trace) return;
  const std::string_view why_kept = sampling_.WhyKept(
      *report.trace,
      {.failed = report.state == "failed", .ttft = report.ttft, .total = report.total});
  if (why_kept.empty()) return;
  (void)queue_.Add(SpansOf(report, why_kept, router_));  // it counts what it drops
}

}  // namespace baton::router
