// Instead of trace_context.cc and otlp_sink.cc where OpenTelemetry's SDK was not found: nothing can
// be exported, and so nobody asks for the rest.
#include "common/telemetry/tracing/span_sink.h"
#include "common/telemetry/tracing/trace_context.h"

namespace baton::telemetry {

absl::StatusOr<std::unique_ptr<SpanSink>> OpenOtlp(const OtlpOptions&) {
  return absl::UnimplementedError(
      "this program was built without OpenTelemetry (deploy/deps/install.sh brings it)");
}

std::optional<TraceContext> ParseTraceContext(std::string_view, std::string_view) {
  return std::nullopt;
}
std::string Traceparent(const TraceContext&) { return ""; }
std::string TraceIdText(const TraceId&) { return ""; }
TraceId NewTraceId() { return {}; }
SpanId NewSpanId() { return {}; }
bool SampledByRatio(const TraceId&, double) { return false; }

}  // namespace baton::telemetry
