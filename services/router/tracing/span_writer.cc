#include "services/router/tracing/span_writer.h"

#include <algorithm>

namespace baton::router {

using telemetry::Span;

Span& SpanWriter::Add(std::string_view name, const telemetry::SpanId& parent,
                      const telemetry::SpanProcess& process, Stretch stretch) {
  Span& span = spans_.emplace_back();
  span.trace = trace_.root.trace;
  span.id = telemetry::NewSpanId();
  span.parent = parent;
  span.state = trace_.root.state;
  span.name = name;
  span.process = process;
  span.start = At(stretch.from);
  span.duration = std::max(absl::ZeroDuration(), stretch.to - stretch.from);
  return span;
}

Span& SpanWriter::AddRoot(const telemetry::SpanProcess& process, absl::Duration total) {
  Span& span = Add("request", trace_.parent, process, {absl::ZeroDuration(), total});
  span.id = trace_.root.span;
  span.kind = telemetry::SpanKind::kServer;
  return span;
}

}  // namespace baton::router
