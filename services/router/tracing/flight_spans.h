#pragma once

#include <string_view>
#include <vector>

#include "common/telemetry/tracing/span.h"
#include "services/router/dispatch/flight_report.h"

namespace baton::router {

// The spans of a request that has ended and has a trace; `why_kept` as TraceSampling says it.
//
//   request                                    router
//     tokenize                                 router
//     queue                                    router, if it waited there
//     route                                    router, once per attempt; events: decision,
//     candidates queue, prefill                           decode worker
//       kv_transfer                            decode worker: asked, told, verified; if remote
//         queue, prefill, kv_transfer          prefill worker
//     decode                                   decode worker
//     detokenize                               router
//
// A later attempt's route links to where the one before was left, its decode to the decode that it
// goes on from. An attempt whose worker has said nothing has a `prefill` over all of its time.
std::vector<telemetry::Span> SpansOf(const FlightReport& report, std::string_view why_kept,
                                     const telemetry::SpanProcess& router);

}  // namespace baton::router
