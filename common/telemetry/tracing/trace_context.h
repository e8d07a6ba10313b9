#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::telemetry {

using TraceId = std::array<uint8_t, 16>;  // all zero: none
using SpanId = std::array<uint8_t, 8>;    // all zero: none

// W3C trace context: a place in a trace.
struct TraceContext {
  TraceId trace{};
  SpanId span{};
  bool sampled = false;
  std::string state;  // tracestate, as it came; other vendors'
};

// From the headers of those names. Nothing when `traceparent` is not well-formed; a `tracestate`
// that is not is left out. Version 00, and later ones as far as they are alike.
std::optional<TraceContext> ParseTraceContext(std::string_view traceparent,
                                              std::string_view tracestate);
// "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
std::string Traceparent(const TraceContext& context);
// 32 hexadecimal digits.
std::string TraceIdText(const TraceId& trace);

// Random ones, never zero. Thread-safe.
TraceId NewTraceId();
SpanId NewSpanId();

// Is this trace among the `ratio` of all that are kept? Every process that follows OpenTelemetry's
// rule says the same of one id. `ratio`: 0 to 1.
bool SampledByRatio(const TraceId& trace, double ratio);

}  // namespace baton::telemetry
