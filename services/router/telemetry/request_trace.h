#pragma once

#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "common/telemetry/tracing/trace_context.h"

namespace baton::router {

// A request's place among traces, from when the router takes it on.
struct RequestTrace {
  telemetry::TraceContext root;  // of its own span; `sampled` is decided here, at the beginning
  telemetry::SpanId parent{};    // its client's span; none: the trace begins here
};

// Which requests leave a trace (docs/decisions/0017). Pure; thread-safe.
class TraceSampling {
 public:
  struct Options {
    double ratio = 1;  // of the traces that begin here
    // A request that took longer is kept whatever the ratio; infinite: none is for that.
    absl::Duration slow = absl::InfiniteDuration();
    absl::Duration slow_ttft = absl::InfiniteDuration();  // the same of its first token
  };
  explicit TraceSampling(const Options& options) : options_(options) {}

  // From the client's headers. A client that sends a context has decided for us; without one, or
  // with one that is not well-formed, a trace begins and the ratio decides.
  RequestTrace Begin(std::string_view traceparent, std::string_view tracestate) const;

  // How a request went.
  struct Outcome {
    bool failed = false;
    std::optional<absl::Duration> ttft;
    absl::Duration total;
  };
  // In one word, why its spans are kept now that it is over; empty: they are not.
  std::string_view WhyKept(const RequestTrace& trace, const Outcome& outcome) const;

 private:
  const Options options_;
};

}  // namespace baton::router
