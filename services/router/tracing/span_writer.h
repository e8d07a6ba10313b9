#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/telemetry/tracing/span.h"
#include "services/router/telemetry/request_trace.h"

namespace baton::router {

// Gathers the spans of one request. Moments are counted from when the router took it on: of a
// worker only durations are known, and they are laid where they must have been.
class SpanWriter {
 public:
  SpanWriter(const RequestTrace& trace, absl::Time accepted_at)
      : trace_(trace), accepted_at_(accepted_at) {}

  struct Stretch {
    absl::Duration from;
    absl::Duration to;  // not before `from`
  };
  // `name` is a literal. The span is valid until the next one is begun: fill it in at once.
  telemetry::Span& Add(std::string_view name, const telemetry::SpanId& parent,
                       const telemetry::SpanProcess& process, Stretch stretch);
  // The request's own.
  telemetry::Span& AddRoot(const telemetry::SpanProcess& process, absl::Duration total);

  absl::Time At(absl::Duration since_accepted) const { return accepted_at_ + since_accepted; }
  const telemetry::SpanId& root() const { return trace_.root.span; }
  std::vector<telemetry::Span> Take() { return std::move(spans_); }

 private:
  const RequestTrace& trace_;
  const absl::Time accepted_at_;
  std::vector<telemetry::Span> spans_;
};

}  // namespace baton::router
