#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/telemetry/tracing/span.h"

namespace baton::telemetry {

// Where spans go in the end. One thread calls it.
class SpanSink {
 public:
  virtual ~SpanSink() = default;
  // Blocks for as long as it was told it may at its making, no longer. Not OK: these spans are
  // lost.
  virtual absl::Status Send(std::span<const Span> spans) = 0;
};

struct OtlpOptions {
  // "grpc://host:4317", or "http://host:4318" (then "/v1/traces" is asked, unless another path is
  // named).
  std::string endpoint;
  absl::Duration timeout = absl::Seconds(1);  // of one Send()
};

// OpenTelemetry's protocol, by its C++ SDK. Nobody is dialled before the first Send(), so that a
// collector that is not there is no error here. INVALID_ARGUMENT: the endpoint; UNIMPLEMENTED: this
// program was built without the SDK.
absl::StatusOr<std::unique_ptr<SpanSink>> OpenOtlp(const OtlpOptions& options);

}  // namespace baton::telemetry
