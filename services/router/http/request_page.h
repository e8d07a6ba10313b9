#pragma once

#include <string>

#include "services/router/dispatch/dispatcher.h"
#include "services/router/dispatch/flight_report.h"

namespace baton::router {

// /debug/requests: {"requests"}, those in flight first, then the latest that have ended; without
// the candidates of their placements.
std::string DebugRequestsJson(const Dispatcher& dispatcher);

// /debug/requests/ID: one of them with everything that was known, estimated and measured.
std::string DebugRequestJson(const FlightReport& report);

}  // namespace baton::router
