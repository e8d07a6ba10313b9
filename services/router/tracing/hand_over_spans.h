#pragma once

#include <string>

#include "baton/v1/worker.pb.h"
#include "services/router/tracing/span_writer.h"

namespace baton::router {

inline constexpr char kRouterService[] = "baton-router";
inline constexpr char kDecodeService[] = "baton-decode-worker";
inline constexpr char kPrefillService[] = "baton-prefill-worker";

// A hand-over, as both ends have measured it.
struct HandOver {
  const v1::HandoverTimes& times;
  telemetry::SpanProcess decode;
  telemetry::SpanProcess prefill;  // who computed
  telemetry::SpanId parent;        // the decode worker's `prefill`
  absl::Duration admitted;         // when that began
};

// kv_transfer on the decode worker, and below it what the prefill worker did.
void WriteHandOver(const HandOver& hand_over, SpanWriter& writer);

}  // namespace baton::router
