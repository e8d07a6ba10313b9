#include "services/router/telemetry/request_trace.h"

#include <utility>

namespace baton::router {

RequestTrace TraceSampling::Begin(std::string_view traceparent, std::string_view tracestate) const {
  RequestTrace trace;
  if (auto client = telemetry::ParseTraceContext(traceparent, tracestate)) {
    trace.parent = client->span;
    trace.root = *std::move(client);
  } else {
    trace.root.trace = telemetry::NewTraceId();
    trace.root.sampled = telemetry::SampledByRatio(trace.root.trace, options_.ratio);
  }
  trace.root.span = telemetry::NewSpanId();
  return trace;
}

std::string_view TraceSampling::WhyKept(const RequestTrace& trace, const Outcome& outcome) const {
  if (outcome.failed) return "error";
  if (outcome.total > options_.slow) return "slow";
  if (outcome.ttft && *outcome.ttft > options_.slow_ttft) return "slow_ttft";
  if (!trace.root.sampled) return "";
  return trace.parent == telemetry::SpanId{} ? "ratio" : "client";
}

}  // namespace baton::router
